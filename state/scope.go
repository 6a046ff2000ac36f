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
// It is a savepoint of the Tx: Commit keeps its changes, and a Scope that is let go without
// it has changed nothing. Once Err gives an error every helper is without effect and gives
// a zero value.
//
// Time is the event's own: a value has expired when that time has reached its
// expiry. A counter has a window for each stretch of event time: every helper
// acts on that of the event.
//
// A Scope, and every Set that it gave, is valid until Commit or the next call of Tx.Scope,
// Sweep, Values, MembersOf, Changes, Empty, Apply or Discard.
type Scope struct {
	tx    *Tx
	rule  string
	at    Ref
	now   int64
	limit *LimitError

	names        []*named
	namePool     pool[named]
	timelines    []*lookedTimeline
	timelinePool pool[lookedTimeline]

	endedWindows pool[headerEntry] // that were read or written, and then reset
	endedSets    []*setEntry       // the same of sets

	evicted int // members and entries that gave way in full sets and timelines

	prefix []byte // rule and key within changelog keys
	key    []byte // scratch
	value  []byte // scratch
}

// Scope begins one evaluation: the helpers concern the values of rule and key, at is the
// event. The Tx uses the Scope again for the next call.
func (t *Tx) Scope(rule, key string, at Ref) *Scope {
	t.rollback()
	s := &t.work.scope
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
	s.names, s.timelines = s.names[:0], s.timelines[:0]
	s.namePool.reset()
	s.timelinePool.reset()
	s.endedWindows.reset()
	clear(s.endedSets)
	s.endedSets, s.evicted = s.endedSets[:0], 0
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

// named is a name that an evaluation has asked for: the header with its values, and the
// evaluation's own view of them.
type named struct {
	scope  *Scope
	name   string
	header *headerEntry

	searched  bool         // the event's window was looked for
	window    *headerEntry // where it is; nil: there is none for the event
	newer     bool         // none was found, and older windows than the newest begin after the event
	looked    bool         // the window was read or written, and so is evidence
	counted   bool         // the event has been counted since the last start
	repeated  bool         // the evidence holds the event already
	countedAt int64        // if repeated: the time that it has there

	setLooked bool // the set was read or written, and so is evidence
}

// named returns the values of a name, nil when the scope has failed.
func (s *Scope) named(name string) *named {
	if s.failed() {
		return nil
	}
	for _, n := range s.names {
		if n.name == name {
			return n
		}
	}
	if !s.name(kindHeader, name) {
		return nil
	}
	e := s.tx.headerAt(s.key)
	if s.failed() {
		return nil
	}
	n := s.namePool.next()
	*n = named{scope: s, name: name, header: e}
	s.names = append(s.names, n)
	return n
}

// Commit keeps the changes, all of them or, when Err gives an error, none. It ends the
// Scope.
func (s *Scope) Commit() {
	if !s.failed() {
		s.tx.commit()
	}
	s.tx.rollback()
}

// commit keeps the changes of the open Scope.
func (t *Tx) commit() {
	t.invalidate()
	u := &t.undo
	for _, n := range t.scope.names {
		t.raiseOlder(n)
	}
	for _, h := range u.headers.items[:u.headers.used] {
		t.numberHeader(h.entry)
		t.estimateHeader(h.entry)
	}
	for _, e := range u.suppressions {
		t.estimateSuppression(e)
	}
	for _, e := range u.timelines {
		e.now.settle(t.pos.stream)
		t.estimateTimeline(e)
	}
	u.reset()
}
