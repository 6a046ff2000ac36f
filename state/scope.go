package state

import (
	"fmt"
	"time"
)

// maxString bounds keys, names of values and members of sets, in bytes.
const maxString = 2 << 10

// Reasons of a LimitError.
const (
	reasonKeyTooLong    = "key_too_long"
	reasonMemberTooLong = "member_too_long"
	reasonSetFull       = "set_full"
	reasonValueTooLarge = "value_too_large"
)

// LimitError says which bound an evaluation has met. It concerns that event
// alone.
type LimitError struct {
	Reason string // key_too_long, member_too_long, set_full or value_too_large
	Detail string // a sentence
}

func (e *LimitError) Error() string { return e.Detail }

// Scope is the view that one evaluation of one event has of the values of one rule and key.
// It buffers the changes; Commit hands them to the Tx, and a Scope that is let go without
// it has changed nothing. Once Err gives an error every helper is without effect and gives
// a zero value.
//
// Time is the event's own: a value has expired when that time has reached its
// expiry. A counter has a window for each stretch of event time: every helper
// acts on that of the event.
//
// A Scope, and every Set that it gave, is valid until Commit, the next call of
// Tx.Scope or the end of the Tx.
type Scope struct {
	tx    *Tx
	rule  string
	at    Ref
	now   int64
	limit *LimitError

	counters     []*scopeCounter
	counterPool  pool[scopeCounter]
	sets         []*scopeSet
	setPool      pool[scopeSet]
	suppressions []scopeSuppression

	looked   []*scopeCounter // windows that were read or written, as they were before a reset
	keptPool pool[scopeCounter]

	lookedSets []*scopeSet // the same of sets

	timelines    []*scopeTimeline
	timelinePool pool[scopeTimeline]
	evicted      int // members and entries that gave way in full sets and timelines

	prefix []byte // rule and key within changelog keys
	key    []byte // scratch
	value  []byte // scratch
}

// Scope begins one evaluation: the helpers concern the values of rule and key, at is the
// event. The Tx uses the Scope again for the next call.
func (t *Tx) Scope(rule, key string, at Ref) *Scope {
	s := &t.work.scope
	s.reset()
	s.tx, s.rule, s.at, s.now, s.limit = t, rule, at, nanos(at.Time), nil
	if len(key) > maxString {
		s.refuse(reasonKeyTooLong, "the key of rule %s has %d bytes, at most %d are kept", rule, len(key), maxString)
		return s
	}
	s.prefix = appendPart(appendPart(s.prefix[:0], rule), key)
	return s
}

// reset forgets everything but the buffers and the bound that was met.
func (s *Scope) reset() {
	s.counters, s.sets, s.suppressions = s.counters[:0], s.sets[:0], s.suppressions[:0]
	s.counterPool.reset()
	s.setPool.reset()
	s.looked = s.looked[:0]
	s.keptPool.reset()
	clear(s.lookedSets)
	s.lookedSets = s.lookedSets[:0]
	s.timelinePool.reset()
	s.timelines, s.evicted = s.timelines[:0], 0
}

// Now gives the event's own time.
func (s *Scope) Now() time.Time { return s.at.Time }

// Err gives the *LimitError of the first bound that was met. Errors of the
// store are not among them: they stick to the Tx.
func (s *Scope) Err() error {
	if s.limit == nil {
		return nil
	}
	return s.limit
}

func (s *Scope) failed() bool { return s.limit != nil || s.tx.err != nil }

func (s *Scope) refuse(reason, format string, args ...any) {
	if s.limit == nil {
		s.limit = &LimitError{Reason: reason, Detail: fmt.Sprintf(format, args...)}
	}
}

// idTooLong refuses an event with an id that is too long for evidence.
func (s *Scope) idTooLong() bool {
	if len(s.at.ID) <= maxEventID {
		return false
	}
	s.refuse(reasonValueTooLarge, "the event's id has %d bytes, evidence keeps at most %d", len(s.at.ID), maxEventID)
	return true
}

// name makes s.key the changelog key of a value; false: the scope has failed.
func (s *Scope) name(kind byte, name string) bool {
	if len(name) > maxString {
		s.refuse(reasonKeyTooLong, "the name of a value of rule %s has %d bytes, at most %d are kept", s.rule, len(name), maxString)
	}
	if s.failed() {
		return false
	}
	s.key = append(append(s.key[:0], kind), s.prefix...)
	s.key = appendPart(s.key, name)
	return true
}

// header gives the header of this name, nil when the scope has failed.
func (s *Scope) header(name string) *headerEntry {
	if !s.name(kindHeader, name) {
		return nil
	}
	if e := s.tx.headerAt(s.key); !s.failed() {
		return e
	}
	return nil
}

// Commit hands the changes to the Tx, all of them or, when Err gives an error,
// none. It ends the Scope.
func (s *Scope) Commit() {
	if !s.failed() {
		s.commit()
	}
	s.reset()
}

func (s *Scope) commit() {
	t := s.tx
	t.touch()
	for _, c := range s.counters {
		if c.dirty {
			t.commitCounter(c)
		}
	}
	for _, m := range s.sets {
		if m.dirty {
			m.entry.take(t, m)
			t.measureHeader(m.entry.header)
		}
	}
	for _, l := range s.timelines {
		if l.dirty {
			l.entry.take(l, t.pos.stream)
			s.tx.measureTimeline(l.entry)
		}
	}
	for i := range s.suppressions {
		if u := &s.suppressions[i]; u.dirty {
			u.entry.now, u.entry.dirty = u.suppression, true
			t.measureSuppression(u.entry)
		}
	}
}
