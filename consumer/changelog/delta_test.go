package changelog_test

import (
	"testing"
	"time"

	"trailhound/consumer/changelog"
	"trailhound/consumer/internal/kafkatest"
)

// reads makes the owner's restores count the offsets that they read.
func (o *owner) reads() (last func() int64) {
	var read int64
	o.log.Restores = &changelog.Restores{Every: time.Nanosecond, Report: func(r changelog.Restoration) { read = r.Read }}
	return func() int64 { return read }
}

// With a local copy only the records written since are read; without one, all of them.
func TestTakeReadsTheDeltaOnly(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, brokers []string) {
		b := newBench(t, brokers, nil)
		warm := b.owner("warm")
		warm.take()
		for range 30 {
			warm.write("a", "b", "c")
		}
		other := b.owner("other")
		all := other.reads()
		other.take()
		other.write("n")
		other.want("a", 30)
		if all() < 30*4 {
			t.Errorf("a restore from nothing has read %d offsets; want all, which are more than %d", all(), 30*4)
		}
		delta := warm.reads()
		warm.take()
		warm.want("n", 1)
		// The records and the claim of other, the claim of warm, and their commits.
		if delta() < 2 || delta() > 12 {
			t.Errorf("a restore with a copy has read %d offsets of %d; want only what came since", delta(), all())
		}
	})
}

// An unreadable record in an intact batch is a stop: no repetition mends it.
func TestTakeForeignRecord(t *testing.T) {
	b := newBench(t, kafkatest.Fake(t, 1).ListenAddrs(), nil)
	b.put([]byte("h\x00\x00\x00"), []byte{1})
	b.owner("a").wantStop(b.topic, "partition 0", "who else writes")
}
