package consumer

import "time"

// lingerPolicy is the longest time between requests that are not full: usually, and while a backlog
// is worked off. A backlog shows in the age of the records, by this machine's clock and the
// timestamps of the input, of which the youngest counts: as long as a single event is
// fresh, nothing is put off for longer than usual. Where a producer stamps records with the
// time of their events, all records are late, and a busy shard takes the longer lingerPolicy.
type lingerPolicy struct{ usual, behind time.Duration }

// most returns the longest time that an event of that age may be put off.
func (p lingerPolicy) most(age time.Duration) time.Duration {
	return min(max(p.usual, age/lingerShare), p.behind)
}

// linger returns the pause after a request of so many records, which only a full batch or
// younger events cut short.
func (p lingerPolicy) linger(records int, age time.Duration) time.Duration {
	most := p.most(age)
	if time.Duration(records) >= most/lingerEach {
		return most
	}
	return time.Duration(records) * lingerEach
}

// sooner returns the due time of a request after events of that age were added to it.
func (p lingerPolicy) sooner(due, now time.Time, age time.Duration) time.Time {
	if bound := now.Add(p.most(age)); bound.Before(due) {
		return bound
	}
	return due
}

// newestTimestamp is the newest timestamp of some input records, in milliseconds since 1970.
type newestTimestamp int64

// add notes a record's timestamp. A record without one (-1) counts as just written; only
// then is the clock read.
func (y *newestTimestamp) add(timestampMS int64, clock func() time.Time) {
	if timestampMS < 0 {
		timestampMS = clock().UnixMilli()
	}
	*y = max(*y, newestTimestamp(timestampMS))
}

func (y newestTimestamp) age(now time.Time) time.Duration {
	return now.Sub(time.UnixMilli(int64(y)))
}
