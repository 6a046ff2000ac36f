package state

import (
	"slices"
	"strings"
	"time"
)

// Observe adds the event at hand to the timeline of this name, under a label of at
// most 2 KiB, which may be "". An event whose id is there already under the label, as
// near as the longest span that Within was asked for, is not added again.
//
// That span says how long entries are kept, so that each evaluation that observes should
// ask as well. An event that is older than the newest one of the timeline by more than
// the span and the store's MaxLateness stands alone: it is not kept, Within gives it and
// nothing else, and StoodAlone counts it. Of more entries than Options.MaxSetMembers the
// oldest give way, and Evicted counts them.
func (s *Scope) Observe(name, label string) {
	l := s.timeline(name)
	switch {
	case l == nil:
		return
	case len(label) > maxString:
		s.refuse(reasonMemberTooLong, "a label of timeline %q has %d bytes, at most %d are kept", name, len(label), maxString)
		return
	case len(s.at.ID) > maxEventID:
		s.refuse(reasonValueTooLarge, "the event's id has %d bytes, evidence keeps at most %d", len(s.at.ID), maxEventID)
		return
	}
	own := Entry{Label: label, Ref: s.at}
	own.Time, own.Source.TopicID, own.Source.Epoch = instant(s.now), [16]byte{}, 0
	if s.now < l.floor() {
		l.standAlone(own)
		return
	}
	if l.holds(&own) || s.failed() {
		return
	}
	if l.makeRoom(); s.failed() {
		return
	}
	own.Label, own.ID, own.Source.Topic = strings.Clone(own.Label), strings.Clone(own.ID), strings.Clone(own.Source.Topic)
	switch {
	case !l.exists:
		l.exists, l.newest = true, s.now
	case s.now > l.newest:
		l.newest = s.now
	}
	l.prune()
	l.insert(own)
	l.dirty = true
}

// Within gives the entries of the timeline of this name from d before the event at hand
// to d after it, both instants included, oldest first; of one instant, in the order of
// their sources. The slice is the caller's.
//
// Ask with the same d each time, or begin with the longest: what only a longer one than
// any before would find may have been removed.
func (s *Scope) Within(name string, d time.Duration) []Entry {
	l := s.timeline(name)
	if l == nil || d < 0 {
		return nil
	}
	l.asked, l.span = true, max(l.span, int64(d))
	if int64(d) > l.reach {
		l.reach, l.dirty = int64(d), l.dirty || l.exists
	}
	return l.around(int64(d))
}

// around gives the entries within a span around the event.
func (l *scopeTimeline) around(span int64) (out []Entry) {
	if len(l.alone) > 0 {
		return slices.Clone(l.alone)
	}
	now := l.scope.now
	l.near(addSaturating(now, -span), addSaturating(now, span), func(entries []Entry) { out = append(out, entries...) })
	if l.scope.failed() {
		return nil
	}
	if !slices.IsSortedFunc(out, compareEntries) { // some of one instant, in several parts
		slices.SortFunc(out, compareEntries)
	}
	return out
}

// Consume removes these entries from the timeline of this name, as Within gave them;
// what is not there has no effect. What an evaluation consumes is the evidence of its
// finding.
func (s *Scope) Consume(name string, entries []Entry) {
	l := s.timeline(name)
	if l == nil || len(entries) == 0 {
		return
	}
	gone := slices.SortedFunc(slices.Values(entries), compareEntries)
	take := func(from []Entry) (kept []Entry) {
		for _, e := range from {
			if _, found := slices.BinarySearchFunc(gone, e, compareEntries); found {
				l.consumed = append(l.consumed, e)
			} else {
				kept = append(kept, e)
			}
		}
		return kept
	}
	if len(l.alone) > 0 {
		l.alone = take(l.alone)
		return
	}
	from, to := nanos(gone[0].Time), nanos(gone[len(gone)-1].Time)
	shrunk := false
	for i := len(l.blocks) - 1; i >= 0 && l.blocks[i].last >= from; i-- {
		if l.blocks[i].first > to {
			continue
		}
		if kept := take(l.block(i)); len(kept) < l.blocks[i].count && !s.failed() {
			l.write(i, kept)
			shrunk = true
		}
	}
	if shrunk {
		l.merge()
	}
	l.head = append(l.head[:0], take(l.head)...)
	l.prune()
	l.dirty = l.dirty || len(l.consumed) > 0
}

// StoodAlone gives how many timelines the event of this evaluation was too late for: see
// Observe. Call it before Commit.
func (s *Scope) StoodAlone() int { return s.alone }
