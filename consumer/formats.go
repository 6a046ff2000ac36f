package consumer

import (
	"strconv"

	"trailhound/consumer/kafka/group"
)

// Versions of what the instances of an app leave for one another: work records,
// changelog records and what they tell the group have one number together, which
// opens every work record and names the protocol of the group. Readers come first: a
// release raises newestFormat alone, and a later one writtenFormat; what lies between
// them is deploy/upgrades.md. A number that is raised stays, and what was written
// under a lower one is read for ever.
const (
	writtenFormat = 1 // that this build writes
	newestFormat  = 1 // up to which it reads
)

// formats says what a build writes and up to what it reads; none: as this build does.
type formats struct{ writes, reads byte }

func (f formats) orOwn() formats {
	if f == (formats{}) {
		return formats{writes: writtenFormat, reads: newestFormat}
	}
	return f
}

// protocols names the group protocols that such a build can take part in: one for
// each format from the one that it writes to the newest that it reads. A broker admits
// a member only if all have a protocol in common, so that nobody becomes a member who
// cannot read what another writes, and those who work are not disturbed by the attempt.
func (f formats) protocols() []string {
	var names []string
	f = f.orOwn()
	for v := int(f.writes); v <= int(f.reads); v++ {
		name := group.Protocol // of format 1
		if v > 1 {
			name += "." + strconv.Itoa(v)
		}
		names = append(names, name)
	}
	return names
}
