package rules

import (
	"bytes"
	"fmt"
	"math"
	"sync"
)

// DefaultMaxUnpacked is how many bytes a record may unpack to unless a Decoder
// says otherwise: 256 MiB.
const DefaultMaxUnpacked = 256 << 20

const (
	// maxEnvelopes is how many envelopes may lie in one another. Each costs
	// another pass over the bytes.
	maxEnvelopes = 8

	// maxErrors is how many errors one record may yield. Without it a small
	// gzip full of newlines and junk would keep its reader busy for minutes.
	maxErrors = 10_000

	// measuredText is from which size on a string's unpacked size is counted before room
	// is made for it: growing a buffer takes more than it ends up with.
	measuredText = 16 << 10
)

// DefaultScratch is the Scratch of a Decoder that does not say otherwise: 512 KiB.
const DefaultScratch = 512 << 10

// Decoder reads the events out of records. The zero value is ready to use. It
// is not safe for concurrent use, nor may a callback use the Decoder that
// calls it.
type Decoder struct {
	// MaxUnpacked bounds how many bytes a record unpacks to: all the gzip in it
	// and, together with that, the strings and the base64 that lie in one another and
	// what is copied of the strings of one event. 0 means DefaultMaxUnpacked.
	MaxUnpacked int64

	// Scratch is how many bytes of buffers, over all that lies in one another, the
	// Decoder keeps between records and uses without the Turn. 0 means DefaultScratch.
	Scratch int

	// Turn, if it is not nil, is locked before a record takes more memory than Scratch,
	// and unlocked at the end of that record, when the memory is given back; callbacks
	// in between are called with it locked. So Decoders that share it hold one such
	// record at a time between them. Lock and Unlock are called by the goroutine that
	// calls Decode.
	Turn sync.Locker

	scan   scanner
	clock  clock
	event  Event
	text   []byte               // strings of the event that could not be taken as they stand
	layers [maxEnvelopes][]byte // what each envelope was unpacked to
	gzip   GzipReader
	packed bytes.Reader

	// Of the record at hand:
	yield  func(*Event, error) bool
	left   int64        // how many bytes may still come out of gzip
	quoted int64        // bytes of the strings and the base64 that are being read
	turn   bool         // Turn is locked
	index  int          // events and errors so far
	held   *DecodeError // an error that may turn out to be all there is to the record
	fails  int          // errors so far
}

var decoders = sync.Pool{New: func() any { return new(Decoder) }}

// Decode is Decoder.Decode with a Decoder of its own.
func Decode(record []byte, yield func(*Event, error) bool) {
	d := decoders.Get().(*Decoder)
	d.Decode(record, yield)
	decoders.Put(d)
}

// Decode calls yield for each event in the record, in order, until yield
// returns false. What is not an event is yielded as a *DecodeError with a nil
// Event; the events around it are yielded all the same.
//
// A record is any number of JSON values with or without white space between
// them, or gzip of that, or lines of base64 of gzip of that. A value is an
// event, an array of values or an envelope: {"Records":[…]}, an EventBridge
// event, a CloudWatch Logs subscription message, an SNS or SQS message, or a
// string that holds a record in its turn.
//
// JSON is read as encoding/json reads it into map[string]any: names are
// compared byte for byte, of equal names the last one counts, null and values
// of a wrong type are as good as absent, and what is not UTF-8 is replaced by
// U+FFFD. Nothing is yielded from a value before all of it is known to be
// valid. Behind a value that is not JSON, reading goes on at the next line: the
// line behind the one in which that value began or, if it is nested too deeply,
// in which it became so.
func (d *Decoder) Decode(record []byte, yield func(*Event, error) bool) {
	d.yield, d.index, d.fails, d.held = yield, 0, 0, nil
	d.left = d.limit()
	if d.scan.seen == nil {
		d.scan.seen = newForesight()
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
		i = space(b, i)
		if len(b)-i < len(byteOrderMark) || string(b[i:i+len(byteOrderMark)]) != byteOrderMark {
			return i
		}
		i += len(byteOrderMark)
	}
}

// finish yields the error that is still held. If it is the only thing that the
// record came to, it concerns the record as a whole.
func (d *Decoder) finish() {
	if d.held != nil && d.index == 1 {
		d.held.Index = -1
	}
	d.flush()
}

// rest lets go of the record and of scratch that has grown out of proportion.
func (d *Decoder) rest() {
	d.yield, d.held = nil, nil
	d.packed.Reset(nil)
	if d.kept() > d.scratch() {
		d.text, d.layers = nil, [maxEnvelopes][]byte{}
	}
	if d.turn {
		d.turn = false
		d.Turn.Unlock()
	}
}

// stream reads the values of one record, or of one string or gzip inside one.
// It returns false to stop, as all the methods below do.
func (d *Decoder) stream(b []byte, depth int) bool {
	if zipped, _ := BeginsGzip(b); zipped {
		return d.unzip(b, depth)
	}
	if len(b) > math.MaxUint32 {
		return d.hold(ReasonUnpackedTooLarge, "the record is larger than 4 GiB")
	}
	var hurt damage
	before := d.index
	for i := gap(b, 0); i < len(b); i = gap(b, i) {
		if isPacked(b[i:]) {
			end := lineEnd(b, i)
			if !d.unpack(b[i:end], depth) {
				return false
			}
			i = end
			continue
		}
		end := -1
		if !hurt.covers(int64(i)) {
			if end = d.scan.value(b, i, levelTop); end < 0 {
				hurt.assess(b, i, 0, &d.scan)
			}
		}
		if end < 0 {
			if !d.hold(hurt.describe(b, i)) {
				return false
			}
			i = lineEnd(b, hurt.last(i, 0))
			continue
		}
		if !d.value(b, i, end, depth) {
			return false
		}
		i = end
	}
	if d.index == before {
		return d.hold(ReasonEmpty, "no event inside")
	}
	return true
}

// hold takes note of an error about a value that is no event. It is yielded
// when the next outcome, or the end of the record, shows whether it is alone.
func (d *Decoder) hold(reason Reason, detail string) bool {
	if !d.flush() {
		return false
	}
	d.held = &DecodeError{Index: d.index, Reason: reason, Detail: detail}
	return d.count()
}

// reject yields an error about the event at hand.
func (d *Decoder) reject(reason Reason, detail string) bool {
	if !d.flush() || !d.yield(nil, &DecodeError{Index: d.index, Reason: reason, Detail: detail}) {
		return false
	}
	return d.count()
}

// accept yields the event at hand.
func (d *Decoder) accept() bool {
	if d.held != nil && !d.flush() {
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
	err := d.held
	if err == nil {
		return true
	}
	d.held = nil
	return d.yield(nil, err)
}
