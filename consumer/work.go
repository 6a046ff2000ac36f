package consumer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"trailhound/rules"
	"trailhound/state"
)

// errWorkFormat is the error of a work record that a newer build has written. A build that
// reads one leaves its shard to others instead of skipping it (PROTOCOL R3, D10).
var errWorkFormat = errors.New("work record of an unknown format")

// errWorkCorrupt is the error of a work record of a known format that cannot be read.
var errWorkCorrupt = errors.New("work record is damaged")

// work is one entry of a work record: an event that matched, where it stands in the
// input, and the (rule, key) pairs of this shard that the router chose. An entry without
// pairs is a time mark (PROTOCOL R9), and one without a topic id an instruction.
type work struct {
	source     state.Source
	recordTime int64 // timestamp of the input record, Unix milliseconds; -1: it had none
	pairs      []rules.Match
	event      []byte // the event's JSON exactly as it came

	newest int64 // of a mark: newest event time handed on, Unix nanoseconds; noNewest: none
	idle   bool  // of a mark: the router stands at the end of the log
	rewind int64 // of an instruction: times beyond this, in Unix nanoseconds, are set back to it
}

// noNewest stands for the newest event time of a partition without one.
const noNewest = math.MinInt64

// isMark tells whether the entry is a time mark of the partition in source.
func (w *work) isMark() bool { return len(w.pairs) == 0 }

// isInstruction tells whether the entry comes from an operator instead of an input.
func (w *work) isInstruction() bool { return w.source.TopicID == [16]byte{} }

// appendHead encodes w behind dst, but for the event, which comes last:
//
//	topic id (16) | topic | partition | leader epoch | offset | index | record time | pairs: n × (rule, key) | event
//
// where numbers are varints, strings carry their length before them and the event takes the
// rest of the entry. In the place of the event, a mark has the newest event time and a byte
// that tells whether the router is idle. An instruction has its number and an instant
// behind a topic id of zeros, which no input has.
func (w *work) appendHead(dst []byte) []byte {
	dst = append(dst, w.source.TopicID[:]...)
	if w.isInstruction() {
		return binary.AppendVarint(append(dst, instructionRewind), w.rewind)
	}
	dst = appendString(dst, w.source.Topic)
	dst = binary.AppendUvarint(dst, uint64(w.source.Partition))
	dst = binary.AppendVarint(dst, int64(w.source.Epoch))
	dst = binary.AppendUvarint(dst, uint64(w.source.Offset))
	dst = binary.AppendUvarint(dst, uint64(w.source.Index))
	dst = binary.AppendVarint(dst, w.recordTime)
	dst = binary.AppendUvarint(dst, uint64(len(w.pairs)))
	for i := range w.pairs {
		dst = appendString(dst, w.pairs[i].Rule)
		dst = appendString(dst, w.pairs[i].Key)
	}
	if w.isMark() {
		dst = binary.AppendVarint(dst, w.newest)
		dst = append(dst, boolByte(w.idle))
	}
	return dst
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// instructionRewind sets the times of a shard back.
const instructionRewind = 1

// size returns an upper bound, to within a few bytes, of a work record that holds nothing
// else: each number counts with its longest encoding.
func (w *work) size() int {
	n := bundleHead + len(w.source.TopicID) + len(w.source.Topic) + len(w.event) + 8*binary.MaxVarintLen64
	for i := range w.pairs {
		n += len(w.pairs[i].Rule) + len(w.pairs[i].Key) + 2*binary.MaxVarintLen64
	}
	return n
}

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// decode reads one entry into w, and reuses its pairs. Rule ids and the topic come from
// names, so that a shard keeps one copy of each; keys are copied, the event aliases b.
// Errors wrap errWorkCorrupt.
func (w *work) decode(b []byte, names *interner) error {
	r := workReader{b: b}
	copy(w.source.TopicID[:], r.bytes(len(w.source.TopicID)))
	if w.isInstruction() {
		return w.decodeInstruction(&r)
	}
	w.source.Topic = names.get(r.string())
	w.source.Partition = int32(r.uvarint(1<<31 - 1))
	w.source.Epoch = r.epoch()
	w.source.Offset = int64(r.uvarint(1<<63 - 1))
	w.source.Index = int32(r.uvarint(1<<31 - 1))
	w.recordTime = r.varint()
	n := r.uvarint(uint64(len(r.b)))
	w.pairs = w.pairs[:0]
	for range n {
		rule, key := r.string(), r.string()
		if r.short {
			break
		}
		w.pairs = append(w.pairs, rules.Match{Rule: names.get(rule), Key: string(key)})
	}
	if w.newest, w.idle, w.rewind = 0, false, 0; w.isMark() {
		w.newest, w.idle = r.varint(), r.uvarint(1) == 1
	}
	w.event = r.b
	if r.short || w.isMark() && len(w.event) > 0 {
		return fmt.Errorf("%w: it ends in the middle of a field, or behind it", errWorkCorrupt)
	}
	return nil
}

func (w *work) decodeInstruction(r *workReader) error {
	kind := r.bytes(1)
	*w = work{pairs: w.pairs[:0], rewind: r.varint()}
	if r.short || len(r.b) > 0 || kind[0] != instructionRewind {
		return fmt.Errorf("%w: an instruction that no build gives", errWorkCorrupt)
	}
	return nil
}

// workReader takes fields off the front of a record; short is sticky.
type workReader struct {
	b     []byte
	short bool
}

func (r *workReader) bytes(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.short, r.b = true, nil
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *workReader) uvarint(most uint64) uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > most {
		r.short, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *workReader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.short, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

// epoch reads a leader epoch; noEpoch is one that is not known.
func (r *workReader) epoch() int32 {
	v := r.varint()
	if v < noEpoch || v > math.MaxInt32 {
		r.short, r.b = true, nil
		return 0
	}
	return int32(v)
}

func (r *workReader) string() []byte {
	return r.bytes(int(r.uvarint(uint64(len(r.b)))))
}

// interner keeps one string per distinct name. Names are rule ids and topics, of which
// there are few; a full table starts over, so that hostile records cannot make it grow.
type interner struct{ names map[string]string }

func (in *interner) get(b []byte) string {
	if s, ok := in.names[string(b)]; ok {
		return s
	}
	if in.names == nil || len(in.names) >= internLimit {
		in.names = make(map[string]string)
	}
	s := string(b)
	in.names[s] = s
	return s
}
