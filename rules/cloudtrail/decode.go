package cloudtrail

import (
	"fmt"
	"io"
	"math"
	"sync"

	"trailhound/rules/cloudtrail/internal/jsonscan"
)

// A Turn is a lock for the memory of large records, held by one goroutine at a time.
type Turn interface {
	// Lock waits for the turn. False: it was not taken, because the goroutine is to stop.
	Lock() bool
	// Unlock gives up a turn that was taken.
	Unlock()
}

// DefaultMaxUnpacked is how many bytes a record may unpack to unless a Decoder
// says otherwise: 256 MiB.
const DefaultMaxUnpacked = 256 << 20

// DefaultMaxHeld is how many unpacked bytes a Decoder holds at a time unless it says
// otherwise, and how large a record of a Splitter may be: 64 MiB. CloudTrail's own events
// have at most 1 MiB, an envelope of CloudWatch Logs or SNS around several of them 6 MiB.
const DefaultMaxHeld = 64 << 20

const (
	// maxEnvelopes is how many envelopes may lie in one another. Each costs
	// another pass over the bytes.
	maxEnvelopes = 8

	// maxErrors is how many errors one record may yield. Without it a small
	// gzip full of newlines and junk would keep its reader busy for minutes.
	maxErrors = 10_000

	// eventShares is the number of parts of MaxHeld, of which an event may take one, and
	// leastEvent the size that an event may have in any case: CloudTrail's own have no
	// more.
	eventShares = 32
	leastEvent  = 1 << 20

	// lookupLayers is how many strings may lie in one another around a string of an event
	// that rules look up: userIdentity, sessionContext, sessionIssuer and arn.
	lookupLayers = 4

	// measuredText is the size from which on a string's unpacked size is counted before
	// room is made for it: a growing buffer takes more memory than its final size.
	measuredText = 16 << 10

	// scratchPerPlace is the size of Scratch for each place that is remembered.
	scratchPerPlace = 256
)

// DefaultScratch is the Scratch of a Decoder that does not say otherwise: 512 KiB.
const DefaultScratch = 512 << 10

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

	// Of the record at hand:
	yield     func(*Event, error) bool
	spent     int64        // bytes that came out of gzip and were passed
	held      int64        // unpacked bytes that are being read
	inflating int          // gzip files that are being read
	exhausted bool         // gzip has given more than it may
	unpacked  bool         // a layer was needed
	turn      bool         // Turn is locked
	stopped   bool         // Turn was refused
	index     int          // events and errors so far
	note      *DecodeError // an error that may turn out to be all there is to the record
	fails     int          // errors so far
}

var decoders = sync.Pool{New: func() any { return new(Decoder) }}

// Decode is Decoder.Decode with a Decoder of its own.
func Decode(record []byte, yield func(*Event, error) bool) {
	d := decoders.Get().(*Decoder)
	d.Decode(record, yield)
	decoders.Put(d)
}

// Decode calls yield for each event in the record, in order, until yield returns false. A
// value that is not an event is yielded as a *DecodeError with a nil Event; the events
// around it are yielded all the same.
//
// A record is any number of JSON values with or without white space between
// them, or gzip of that, or lines of base64 of gzip of that. A value is an
// event, an array of values or an envelope: {"Records":[…]}, an EventBridge
// event, a CloudWatch Logs subscription message, an SNS or SQS message, or a
// string that holds a record in its turn.
//
// JSON is read as encoding/json reads it into map[string]any: names are compared byte for
// byte, of equal names the last one counts, null and values of a wrong type are as good as
// absent, and bytes that are not UTF-8 are replaced by U+FFFD. Nothing is yielded from a
// value before all of it is known to be valid. A list at the top of a record, or of the
// content of an envelope, is read element by element: [… and {"Records":[… or {"Events":[…,
// if the name is the object's first member, without escapes, and the array has elements. Of
// the other members of such an object only arrays of the same name are read.
//
// Behind a value that is not JSON, reading goes on at the next line: the line behind the
// one in which that value began or, if it is nested too deeply, in which the depth was
// exceeded. The events before the damage of a list or of a gzip file are yielded.
func (d *Decoder) Decode(record []byte, yield func(*Event, error) bool) {
	d.yield, d.index, d.fails, d.note = yield, 0, 0, nil
	d.spent, d.held, d.inflating, d.exhausted, d.stopped = 0, 0, 0, false, false
	if d.scan.Predictor == nil {
		d.scan.Members, d.scan.Predictor = &members, jsonscan.NewPredictor(&members, d.scratch()/scratchPerPlace)
	}
	if record == nil {
		d.hold(ReasonTombstone, "the record has no value")
		d.finish()
	} else if d.stream(record, 0) {
		d.finish()
	}
	d.rest()
}

// byteOrderMark may stand before a value; RFC 8259 section 8.1 lets a reader
// step over it.
const byteOrderMark = "\uFEFF"

// gap returns the offset of the first byte at or after i that is neither white
// space nor part of a byte order mark.
func gap(b []byte, i int) int {
	for {
		i = jsonscan.Space(b, i)
		if len(b)-i < len(byteOrderMark) || string(b[i:i+len(byteOrderMark)]) != byteOrderMark {
			return i
		}
		i += len(byteOrderMark)
	}
}

// finish yields the error that is still held. If the record had no other outcome, the error
// concerns the record as a whole.
func (d *Decoder) finish() {
	if d.note != nil && d.index == 1 {
		d.note.Index = -1
	}
	d.flush()
}

// rest lets go of the record and of scratch that has grown out of proportion.
func (d *Decoder) rest() {
	d.yield, d.note = nil, nil
	d.sources[0].buf = nil
	if d.unpacked || cap(d.text) > measuredText || len(d.event.Raw) > measuredText {
		d.event = Event{} // its strings are part of the layers
		for i := range d.sources {
			d.sources[i].begin(nil, nil)
		}
		if d.unpacked = false; d.kept() > d.scratch() {
			d.text, d.layers = nil, [maxEnvelopes][]byte{}
		}
	}
	if d.turn {
		d.turn = false
		d.Turn.Unlock()
	}
}

// stream reads the values of one record, or of one string inside one, in gzip or plain. It
// returns false to stop, as all the methods below do.
func (d *Decoder) stream(b []byte, depth int) bool {
	if len(b) > 1 && (b[0] == 0x1f || gzipPadding(b[0])) {
		if zipped, _ := BeginsGzip(b[:min(len(b), gzipPaddingSeen)]); zipped {
			return d.unzip(b, depth)
		}
	}
	if len(b) > math.MaxUint32 {
		return d.hold(ReasonUnpackedTooLarge, "the record is larger than 4 GiB")
	}
	return d.values(d.source(depth, b, nil), depth)
}

// source begins to read the content of depth envelopes: b or, with from, the bytes that
// from gives through the window b.
func (d *Decoder) source(depth int, b []byte, from io.Reader) *source {
	s := &d.sources[depth]
	s.scan, s.note, s.most = &d.scan, true, 0
	if d.unpacked = d.unpacked || depth > 0; from != nil {
		s.owner, s.depth = d, depth-1
		s.most = max(1, d.maxHeld()-d.held)
	}
	s.begin(b, from)
	return s
}

// values reads the pieces that a source finds.
func (d *Decoder) values(s *source, depth int) bool {
	for before := d.index; ; {
		p, more := s.piece(), true
		if s.from != nil {
			if p.kind == pieceEnd {
				return d.inflated(s, d.index == before)
			}
			if !d.charge(s) {
				return d.exhaust()
			}
		}
		switch p.kind {
		case pieceValue, piecePacked:
			size := int64(0)
			if s.from != nil {
				size = int64(p.end - p.start)
			}
			d.held += size
			if p.kind == pieceValue {
				more = d.value(s.buf, p.start, p.end, depth)
			} else {
				more = d.unpack(s.buf[p.start:p.end], depth)
			}
			d.held -= size
		case pieceBad:
			more = d.hold(s.reason, s.detail)
		case pieceLarge:
			more = d.tooLargeToHold()
		case pieceEnd:
			if d.index == before {
				return d.hold(ReasonEmpty, "no event inside")
			}
			return true
		}
		if !more {
			return false
		}
		if s.next == len(s.buf) && s.from == nil && s.in == atTop && d.index > before {
			return true // the usual case
		}
	}
}

// hold takes note of an error about a value that is no event. It is yielded
// when the next outcome, or the end of the record, shows whether it is alone.
func (d *Decoder) hold(reason Reason, detail string) bool {
	if d.stopped || !d.flush() {
		return false
	}
	d.note = &DecodeError{Index: d.index, Reason: reason, Detail: detail}
	return d.count()
}

// reject yields an error about the event at hand.
func (d *Decoder) reject(reason Reason, detail string) bool {
	if d.stopped || !d.flush() || !d.yield(nil, &DecodeError{Index: d.index, Reason: reason, Detail: detail}) {
		return false
	}
	return d.count()
}

// accept yields the event at hand.
func (d *Decoder) accept() bool {
	if d.note != nil && !d.flush() {
		return false
	}
	d.event.At.Index = int32(d.index)
	d.index++
	return d.yield(&d.event, nil)
}

// count counts an error, and ends the record with another when there are too
// many.
func (d *Decoder) count() bool {
	d.index++
	d.fails++
	if d.fails < maxErrors {
		return true
	}
	if d.flush() {
		d.yield(nil, &DecodeError{Index: d.index, Reason: ReasonTooManyErrors,
			Detail: fmt.Sprintf("more than %d errors; the rest of the record was not read", maxErrors)})
	}
	return false
}

// flush yields the error that is held, if there is one.
func (d *Decoder) flush() bool {
	err := d.note
	if err == nil {
		return true
	}
	d.note = nil
	return d.yield(nil, err)
}
