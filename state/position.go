package state

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"time"
)

// Position tells how far a shard has come.
type Position struct {
	Work        int64     // next offset of the work partition; -1: none yet
	WorkEpoch   int32     // leader epoch of the work record before that offset (KIP-320); -1: not known
	Changelog   int64     // next offset of the changelog partition; 0: nothing restored
	Epoch       int32     // leader epoch of the changelog record before EpochTo; -1: not known
	EpochTo     int64     // changelog offset up to which Epoch was read back, by Load or MarkEpoch: Changelog, or below
	StreamTime  time.Time // newest event time evaluated; zero: no event yet
	Fingerprint []byte    // of the rules and parameters of the last change; nil: none yet
}

// position is the part of it that travels in the changelog.
type position struct {
	work        int64
	workEpoch   int32  // leader epoch of the work record before that offset; noEpoch: not known
	stream      int64  // noTime: no event yet
	reached     int64  // highest horizon so far: events remembered until before it are forgotten; noTime: none
	next        uint64 // number of the next set, page or block of evidence
	rewound     rewound
	fingerprint []byte
}

// rewound is the bound that Rewind leaves behind for pages that list events until a time
// far ahead of the stream. Pages are never changed, so the bound is kept here. The bound
// stays when the pages are gone, so that a copy that has missed both makes its runs again.
type rewound struct {
	before uint64 // pages with a lower number; 0: Rewind was never called
	until  int64  // no event in them is remembered for longer; noTime: none of them is left
}

// limit gives the instant until which an event on a page is remembered.
func (r rewound) limit(page uint64, until int64) int64 {
	if page < r.before {
		return min(until, r.until)
	}
	return until
}

var noPosition = position{work: -1, workEpoch: noEpoch, stream: noTime, reached: noTime, next: 1}

func (p *position) append(dst []byte) []byte {
	dst = binary.AppendVarint(append(dst, formatVersion), p.work)
	dst = binary.AppendVarint(dst, int64(p.workEpoch))
	dst = appendTime(appendTime(dst, p.stream), p.reached)
	dst = binary.AppendUvarint(dst, p.next)
	if dst = binary.AppendUvarint(dst, p.rewound.before); p.rewound.before > 0 {
		dst = appendTime(dst, p.rewound.until)
	}
	return append(dst, p.fingerprint...)
}

func decodePosition(value []byte) (position, error) {
	r, err := open(value)
	if err != nil {
		return noPosition, err
	}
	p := position{work: r.varint(), workEpoch: r.int32(), stream: r.time(), reached: r.time(), next: r.uvarint()}
	if p.rewound.before = r.uvarint(); p.rewound.before > 0 {
		p.rewound.until = r.time()
	}
	if b := r.rest(); len(b) > 0 {
		p.fingerprint = slices.Clone(b)
	}
	if p.next == 0 || p.rewound.before > p.next {
		r.fail()
	}
	return p, r.close()
}

// same tells whether nothing but the work offset and its epoch differ.
func (p *position) same(q *position) bool {
	return p.stream == q.stream && p.reached == q.reached && p.next == q.next && p.rewound == q.rewound && string(p.fingerprint) == string(q.fingerprint)
}

// SetWorkOffset sets the next offset of the work partition, and the leader epoch of the
// record before it (-1: not known).
func (t *Tx) SetWorkOffset(next int64, epoch int32) {
	t.invalidate()
	t.pos.work, t.pos.workEpoch = next, epoch
}

// WorkOffset gives the next offset of the work partition; -1: none yet.
func (t *Tx) WorkOffset() int64 { return t.pos.work }

// StreamTime gives the newest event time observed; zero: no event yet.
func (t *Tx) StreamTime() time.Time { return instant(t.pos.stream) }

// SetFingerprint sets the Fingerprint that Position gives.
func (t *Tx) SetFingerprint(b []byte) {
	if !bytes.Equal(b, t.pos.fingerprint) {
		t.invalidate()
		t.pos.fingerprint = slices.Clone(b)
	}
}

// PutMeta keeps a small record for Shard.Meta under a name; nil removes it, an
// empty value does not.
func (t *Tx) PutMeta(name string, value []byte) {
	t.invalidate()
	t.grow(1, len(name)+len(value))
	t.meta[strings.Clone(name)] = slices.Clone(value)
}
