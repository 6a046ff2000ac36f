// Package state remembers the counts, sets and timelines of rules. It keeps one Pebble
// database an instance; a shard is a range of its keys, and the local copy of one partition
// of the changelog topic.
//
// There are only a few types. A [Store] is the database, a [Shard] one range
// of it, a [Tx] all changes of one batch of work, a [Scope] the changes of one
// evaluation: the values of one rule and one key, and the helpers that rules
// call. A [Change] is one record of the changelog.
//
// Its one guarantee: a shard on disk is always some prefix of the transactions
// that were applied to it, and [Shard.Position] tells which. Nothing half-done
// can be seen, neither after a crash nor by the next evaluation.
//
// Time is always an argument: the time of the event for a value and its expiry, the
// caller's clock for the two local markers. Instants outside the years 1678 to 2262 count
// as the nearest one inside.
package state

import (
	"math"
	"time"
)

// Source is where an event stands in the input. Sources of one (TopicID,
// Partition) are ordered by (Epoch, Offset, Index).
type Source struct {
	Topic     string
	TopicID   [16]byte // Kafka's id of the topic: a topic made again has another
	Partition int32
	Epoch     int32 // leader epoch of the record's batch (KIP-320), negative: not known; not part of evidence
	Offset    int64
	Index     int32 // of the event within the record
}

// Ref names one event: as evidence remembers it, and with the time that helpers use.
type Ref struct {
	ID     string // the event's id; "" if it has none
	Time   time.Time
	Source Source
}

// noTime stands for an instant that is not there: no own expiry, no event yet.
const noTime = math.MinInt64

// nanos gives t as nanoseconds since 1970. An instant that does not fit is moved to the
// nearest one that does; the result is never noTime.
func nanos(t time.Time) int64 {
	const last = math.MaxInt64 / int64(time.Second)
	s, n := t.Unix(), t.UnixNano() // n wraps at either end
	switch fits := s >= -last-1 && s <= last && (n < 0) == (s < 0); {
	case !fits && s < 0:
		return noTime + 1
	case !fits:
		return math.MaxInt64
	}
	return max(n, noTime+1)
}

// instant is the inverse of nanos; noTime gives the zero time.
func instant(n int64) time.Time {
	if n == noTime {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

func addSaturating(a, b int64) int64 {
	switch c := a + b; {
	case a > 0 && b > 0 && c < 0:
		return math.MaxInt64
	case a < 0 && b < 0 && c >= 0:
		return math.MinInt64
	default:
		return c
	}
}

// after gives the instant d after n.
func after(n int64, d time.Duration) int64 {
	return max(addSaturating(n, int64(d)), noTime+1)
}
