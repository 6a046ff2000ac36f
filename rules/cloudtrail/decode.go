package cloudtrail

import (
	"bufio"
	"math"
	"sync"

	"trailhound/rules/cloudtrail/internal/jsonscan"
)

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
