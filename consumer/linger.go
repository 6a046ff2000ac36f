package consumer

import "time"

const (
	// lingerEach is how long a request is put off for each record that the one before it
	// carried: a request costs the brokers nearly the same for one record and for a hundred. A
	// lone record goes at once, or a millisecond after the last one; beyond 1/lingerEach
	// records a second, requests grow until they are as far apart as a pace allows.
	lingerEach = time.Millisecond

	// lingerShare is the part of its age that an event may be put off for: a tenth of a second
	// does not count for an event that has lain in a backlog for a second.
	lingerShare = 10
)

// pace is the longest time between requests that are not full: usually, and while a backlog
// is worked off. A backlog shows in the age of the records, by this machine's clock and the
// timestamps of the input, of which the youngest counts: as long as a single event is
// fresh, nothing is put off for longer than usual. Where a producer stamps records with the
// time of their events, all records are late, and a busy shard takes the longer pace.
type pace struct{ usual, behind time.Duration }

// most returns the longest time that an event of that age may be put off.
func (p pace) most(age time.Duration) time.Duration {
	return min(max(p.usual, age/lingerShare), p.behind)
}

// linger returns the pause after a request of so many records, which only a full batch or
// younger events cut short.
func (p pace) linger(records int, age time.Duration) time.Duration {
	most := p.most(age)
	if time.Duration(records) >= most/lingerEach {
		return most
	}
	return time.Duration(records) * lingerEach
}

// sooner returns the due time of a request after events of that age were added to it.
func (p pace) sooner(due, now time.Time, age time.Duration) time.Time {
	if bound := now.Add(p.most(age)); bound.Before(due) {
		return bound
	}
	return due
}

// youngest is the newest timestamp of some input records, in milliseconds since 1970.
type youngest int64

// add notes a record's timestamp. A record without one (-1) counts as just written; only
// then is the clock read.
func (y *youngest) add(timestampMS int64, clock func() time.Time) {
	if timestampMS < 0 {
		timestampMS = clock().UnixMilli()
	}
	*y = max(*y, youngest(timestampMS))
}

func (y youngest) age(now time.Time) time.Duration {
	return now.Sub(time.UnixMilli(int64(y)))
}
