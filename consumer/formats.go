package consumer

import (
	"strconv"

	"trailhound/consumer/kafka/group"
)

// Versions of the data that the instances of an app leave for one another: work records,
// changelog records and group metadata have one number together, which opens every work
// record and names the protocol of the group. Readers come first: a release raises
// newestFormat alone, and a later one writtenFormat; deploy/upgrades.md has the steps
// between them. A raised number stays, and records of a lower one are read for ever.
const (
	writtenFormat = 1 // the format that this build writes
	newestFormat  = 1 // the newest format that it reads
)

// formats are the format that a build writes and the newest that it reads; zero: this build's.
type formats struct{ writes, reads byte }

func (f formats) orOwn() formats {
	if f == (formats{}) {
		return formats{writes: writtenFormat, reads: newestFormat}
	}
	return f
}

// protocols names the group protocols that a build with these formats can take part in: one
// for each format from the one that it writes to the newest that it reads. A broker admits
// only members with a protocol in common: a build that cannot read the others' records
// stays out, and its attempt does not disturb the members.
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
