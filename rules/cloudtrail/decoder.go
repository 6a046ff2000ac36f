package cloudtrail

import "trailhound/rules/cloudtrail/internal/jsonscan"

// A Turn is a lock for the memory of large records, held by one goroutine at a time.
type Turn interface {
	// Lock waits for the turn. False: it was not taken, because the goroutine is to stop.
	Lock() bool
	// Unlock gives up a turn that was taken.
	Unlock()
}

// Decoder reads the events out of records. The zero value is ready to use. It
// is not safe for concurrent use, nor may a callback use the Decoder that
// calls it.
type Decoder struct {
	// MaxUnpacked bounds how many bytes the gzip in a record unpacks to. Bytes beyond it
	// are not read; the events before them are. 0 means DefaultMaxUnpacked.
	MaxUnpacked int64

	// MaxHeld bounds how many unpacked bytes are held at a time: one value in gzip, with
	// the strings and the base64 in it that lie in one another and the copied strings of
	// one event. A value that takes more is passed over. 0 means DefaultMaxHeld. More than
	// MaxUnpacked it never is. An event, packed or not, has a 32nd of it, and 1 MiB at
	// least: its strings are copied when rules look them up, once for each string that they
	// lie in, and the event itself until it is evaluated. A larger one is rejected as
	// ReasonEventTooLarge.
	MaxHeld int64

	// Scratch is how many bytes of buffers, for all layers together, the Decoder keeps
	// between records and uses without the Turn. Besides, its predictor takes as much again
	// at most: 55 KiB or, from 512 KiB on, 430. To be set before the first record; 0 means
	// DefaultScratch.
	Scratch int

	// Turn, if it is not nil, is locked before a record takes more memory than Scratch, and
	// unlocked at the end of that record, when the memory is given back; callbacks in
	// between are called with it locked. So Decoders that share it hold one such record at
	// a time between them. Lock and Unlock are called by the goroutine that calls Decode.
	// If Lock gives false, Decode returns in the midst of the record.
	Turn Turn

	// Progress, if it is not nil, is called once in a while as gzip is unpacked, also
	// without events: 256 MiB take seconds of a busy processor.
	Progress func()

	scan    jsonscan.Scanner
	clock   clock
	event   Event
	text    []byte                   // strings of the event that could not be taken as they stand
	layers  [maxEnvelopes][]byte     // the unpacked bytes of each envelope, or a window of them
	sources [maxEnvelopes + 1]source // of the record, and of the content of each envelope
	record  record                   // the one at hand
}

func (d *Decoder) limit() int64 {
	if d.MaxUnpacked == 0 {
		return DefaultMaxUnpacked
	}
	return d.MaxUnpacked
}

func (d *Decoder) maxHeld() int64 {
	if d.MaxHeld == 0 {
		return min(DefaultMaxHeld, d.limit())
	}
	return min(d.MaxHeld, d.limit())
}

// MostEvent is how many bytes an event may have.
func (d *Decoder) MostEvent() int64 { return max(d.maxHeld()/eventShares, leastEvent) }

func (d *Decoder) scratch() int {
	if d.Scratch == 0 {
		return DefaultScratch
	}
	return d.Scratch
}

func (d *Decoder) window() int { return min(max(d.scratch()/8, minWindow), maxWindow) }
