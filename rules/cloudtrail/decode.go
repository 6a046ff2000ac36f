package cloudtrail

import (
	"bufio"
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
	record  record                   // the one at hand
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
	d.record.begin(yield)
	if d.scan.Predictor == nil {
		d.scan.Members, d.scan.Predictor = &members, jsonscan.NewPredictor(&members, d.scratch()/scratchPerPlace)
	}
	more := true
	if record == nil {
		d.record.hold(problem(ReasonTombstone, "the record has no value"))
	} else {
		more = d.stream(record, 0)
	}
	if more {
		d.record.finish()
	}
	d.rest()
}

// rest lets go of the record and of scratch that has grown out of proportion.
func (d *Decoder) rest() {
	d.record.yield, d.record.note = nil, nil
	d.sources[0].buf = nil
	if d.record.unpacked || cap(d.text) > measuredText || len(d.event.Raw) > measuredText {
		d.event = Event{} // its strings are part of the layers
		for i := range d.sources {
			d.sources[i].begin(nil, nil)
		}
		if d.record.unpacked = false; d.kept() > d.scratch() {
			d.text, d.layers = nil, [maxEnvelopes][]byte{}
		}
	}
	if d.record.turn {
		d.record.turn = false
		d.Turn.Unlock()
	}
}

// stream reads the values of one record, or of one string inside one, in gzip or plain. It
// returns false to stop, as all the methods below do.
func (d *Decoder) stream(b []byte, depth int) bool {
	if len(b) > 1 && (b[0] == 0x1f || gzipPadding(b[0])) {
		if zipped, _ := BeginsGzip(b[:min(len(b), gzipPaddingSeen)]); zipped {
			z := inflaters.Get().(*inflater)
			z.packed.Reset(b)
			return d.inflate(z, &z.packed, depth)
		}
	}
	if len(b) > math.MaxUint32 {
		return d.record.hold(problem(ReasonUnpackedTooLarge, "the record is larger than 4 GiB"))
	}
	return d.values(d.source(depth, b, nil), depth)
}

// inflate reads the bytes that z unpacks of from.
func (d *Decoder) inflate(z *inflater, from GzipSource, depth int) bool {
	defer z.release()
	s, err := d.unzip(z, from, depth)
	if s == nil {
		return d.record.hold(err)
	}
	d.record.inflating++
	var more bool
	if s.zipped() {
		b := bufio.NewReaderSize(s, 1<<10)
		more = d.inflate(inflaters.Get().(*inflater), b, depth+1)
		s.next -= b.Buffered()
		d.charge(s)
	} else {
		more = d.values(s, depth+1)
	}
	d.record.inflating--
	d.release(depth)
	return more
}

// values reads the pieces that a source finds.
func (d *Decoder) values(s *source, depth int) bool {
	r := &d.record
	for before := r.index; ; {
		p, more := s.piece(), true
		if s.from != nil {
			if p.kind == pieceEnd {
				return r.hold(d.inflated(s, r.index == before))
			}
			if !d.charge(s) {
				return r.hold(d.exhaust())
			}
		}
		switch p.kind {
		case pieceValue, piecePacked:
			size := int64(0)
			if s.from != nil {
				size = int64(p.end - p.start)
			}
			r.held += size
			if p.kind == pieceValue {
				more = d.value(s.buf, p.start, p.end, depth)
			} else {
				size, err := d.unpack(s.buf[p.start:p.end], depth)
				more = d.layer(depth, size, err)
			}
			r.held -= size
		case pieceBad:
			more = r.hold(s.problem)
		case pieceLarge:
			more = r.hold(d.tooLargeToHold())
		case pieceEnd:
			if r.index == before {
				return r.hold(problem(ReasonEmpty, "no event inside"))
			}
			return true
		}
		if !more {
			return false
		}
		if s.next == len(s.buf) && s.from == nil && s.in == atTop && r.index > before {
			return true // the usual case
		}
	}
}

// value reads the value b[i:end], which the scanner has just passed.
func (d *Decoder) value(b []byte, i, end, depth int) bool {
	switch b[i] {
	case '{':
		if d.isEvent() {
			return d.yieldEvent(b, i, end)
		}
		return d.envelope(b, depth)
	case '[':
		return d.list(b[i:end], depth, false)
	case '"':
		return d.inString(b[i:end], depth)
	}
	return d.record.hold(problem(ReasonUnknownShape, "a number or a literal is no event"))
}

// yieldEvent yields the event b[i:end], which the scanner has just passed, or the reason why
// it is refused.
func (d *Decoder) yieldEvent(b []byte, i, end int) bool {
	d.text = d.text[:0]
	if d.has(fieldS3) && d.string(b, fieldSource) == "aws:s3" {
		return d.record.hold(s3Notification())
	}
	if err := d.read(b, i, end); err != nil {
		return d.record.reject(err)
	}
	more := d.record.accept(&d.event)
	if cap(d.text) > d.scratch() {
		d.text = nil
	}
	return more
}

// envelope reads the object that the scanner has just passed and that is no event itself.
func (d *Decoder) envelope(b []byte, depth int) bool {
	switch in, content, err := d.content(b); in {
	case anEvent:
		return d.yieldEvent(content, 0, len(content))
	case aList, logEvents:
		return d.list(content, depth, in == logEvents)
	case aValue:
		return d.inside(content, depth)
	default:
		return d.record.hold(err)
	}
}

// inside reads the value of a member of an envelope.
func (d *Decoder) inside(b []byte, depth int) bool {
	if depth == maxEnvelopes {
		return d.record.hold(tooManyEnvelopes())
	}
	if b[0] == '"' {
		return d.inString(b, depth)
	}
	d.scan.Value(b, 0, true)
	return d.value(b, 0, len(b), depth+1)
}

// list reads the elements of an array that has passed the scanner: values, or the
// logEvents of a subscription message.
func (d *Decoder) list(b []byte, depth int, logs bool) bool {
	if depth == maxEnvelopes {
		return d.record.hold(tooManyEnvelopes())
	}
	i := jsonscan.Space(b, 1)
	if b[i] == ']' {
		return d.record.hold(problem(ReasonEmpty, "an empty list of events"))
	}
	for {
		end := d.scan.Value(b, i, true)
		more := false
		if !logs {
			more = d.value(b, i, end, depth+1)
		} else if message := d.whole(b, fieldLogMessage, 0); b[i] == '{' && message != nil {
			more = d.inside(message, depth+1)
		} else {
			more = d.record.hold(problem(ReasonUnknownShape, "an element of logEvents without a message"))
		}
		if !more {
			return false
		}
		if i = jsonscan.Space(b, end); b[i] == ']' {
			return true
		}
		i = jsonscan.Space(b, i+1)
	}
}

// inString reads the content of a string. raw has its quotes.
func (d *Decoder) inString(raw []byte, depth int) bool {
	size, err := d.unquote(raw, depth)
	return d.layer(depth, size, err)
}

// layer reads the layer that holds size bytes of a string or of base64, unless there is a
// problem with it.
func (d *Decoder) layer(depth, size int, err *DecodeError) bool {
	if err != nil {
		return d.record.hold(err)
	}
	d.record.held += int64(size)
	more := d.stream(d.layers[depth], depth+1)
	d.record.held -= int64(size)
	d.release(depth)
	return more
}
