package consumer

import "time"

const (
	// lingerEach is how long a request is put off for each record that the one before it
	// carried. A lone record goes at once, or a millisecond after the last one; where more
	// than 1/lingerEach records a second come, requests grow until they are as far apart
	// as a pace allows. What a request costs the brokers is nearly the same for one record
	// and for a hundred.
	lingerEach = time.Millisecond

	// lingerShare is the part of its age that an event may be put off for. Nobody notices
	// a tenth of a second at an event that has lain in a backlog for a second.
	lingerShare = 10
)

// pace is how far apart requests are at most that are not full: usually, and while a
// backlog is worked off.
type pace struct{ usual, behind time.Duration }

// linger returns for how long after a request of so many records no other one is sent
// unless it is full. The age is that of the youngest event in it: as long as a single
// one is fresh, nothing is put off.
func (p pace) linger(records int, age time.Duration) time.Duration {
	most := min(max(p.usual, age/lingerShare), p.behind)
	if time.Duration(records) >= most/lingerEach {
		return most
	}
	return time.Duration(records) * lingerEach
}

// youngest is the newest timestamp of some input records, in milliseconds since 1970.
type youngest int64

// add notes a record's timestamp. One that has none (-1) counts as just written.
func (y *youngest) add(timestampMS int64, now func() time.Time) {
	if timestampMS < 0 {
		timestampMS = now().UnixMilli()
	}
	*y = max(*y, youngest(timestampMS))
}

func (y youngest) age(now time.Time) time.Duration {
	return now.Sub(time.UnixMilli(int64(y)))
}
