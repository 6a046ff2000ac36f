package consumer

import (
	"trailhound/consumer/fatal"
	"trailhound/consumer/kafka/wire"
)

// noEpoch is a leader epoch that is not known: no log can be checked with it.
const noEpoch = -1

// logPosition is where a reader stands in a partition.
type logPosition struct {
	offset int64
	epoch  int32 // leader epoch of the record before offset; noEpoch: not known
}

// cutBack returns the error of an input that no longer holds the records that were read.
func cutBack(d *wire.DivergedError) *fatal.Error {
	lost := d.Lost()
	if d.End.End >= d.Offset {
		lost += ", which are not evaluated"
	}
	return fatal.Errorf("input %s partition %d was cut back (by an unclean leader election, or a broker that lost power): %s; see that no producer's records are missing, then start once with --accept-loss to go on at offset %d", d.Topic, d.Partition, lost, d.End.End)
}
