package state

import (
	"slices"
	"strings"
	"time"
)

// Observe adds the event at hand to the timeline of this name, under a label of at most 2
// KiB, which may be "". An event with an id that is there already under the label, as near
// as the longest span that Within was asked for, is not added again.
//
// The longest span says how long entries are kept, so that each evaluation that observes
// should ask as well: an entry goes once it is older than the horizon (see [Tx.Horizon]) by more
// than the span and the store's MaxLateness. However late an event is for the timeline's
// newest, its neighbours are there as long as its own input partition holds the horizon.
//
// Entries beyond Options.MaxSetMembers make others give way, and Evicted counts these: the
// oldest that are further than the span from the event and from the newest event of each
// input partition, an eighth of the limit at a time; if these do not make room, those
// that are furthest from the event.
func (s *Scope) Observe(name, label string) {
	l := s.timeline(name)
	switch {
	case l == nil:
		return
	case len(label) > maxString:
		s.refuse(reasonMemberTooLong, "a label of timeline %q has %d bytes, at most %d are kept", name, len(label), maxString)
		return
	case s.idTooLong():
		return
	}
	own := Entry{Label: label, Ref: s.at}
	own.Time, own.Source.TopicID, own.Source.Epoch = instant(s.now), [16]byte{}, 0
	if l.holds(&own) || s.failed() {
		return
	}
	l.change()
	if l.makeRoom(); s.failed() {
		return
	}
	switch {
	case !l.exists:
		l.exists, l.newest = true, s.now
	case s.now > l.newest:
		l.newest = s.now
	}
	l.prune()
	own = l.owned(own)
	l.insert(own)
	l.near.insert(own)
}

// Within gives the entries of the timeline of this name from d before the event at hand
// to d after it, both instants included, oldest first; of one instant, in the order of
// their sources. The slice is the caller's.
//
// Ask with the same d each time, or begin with the longest: entries that no shorter span
// reaches may have been removed before a longer one is asked for the first time.
func (s *Scope) Within(name string, d time.Duration) []Entry {
	l := s.timeline(name)
	if l == nil || d < 0 {
		return nil
	}
	l.asked, l.span = true, max(l.span, int64(d))
	if int64(d) > l.reach {
		l.change()
		l.reach = int64(d)
	}
	return slices.Clone(l.around(int64(d)))
}

// Consume removes these entries from the timeline of this name, as Within gave them;
// an entry that is not there has no effect. The entries that an evaluation consumes are
// the evidence of its finding.
func (s *Scope) Consume(name string, entries []Entry) {
	l := s.timeline(name)
	if l == nil || len(entries) == 0 {
		return
	}
	consumed := len(l.consumed)
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
	from, to := nanos(gone[0].Time), nanos(gone[len(gone)-1].Time)
	for i := l.blockAt(from); i < len(l.blocks) && l.blocks[i].first <= to; {
		count := l.blocks[i].count
		kept := take(l.block(i))
		if s.failed() {
			return
		}
		if len(kept) < count {
			l.write(i, kept)
		}
		if len(kept) > 0 {
			i++
		}
	}
	if len(l.consumed) > consumed {
		l.merge()
	}
	if head := take(l.head); len(head) < len(l.head) {
		l.change()
		l.head = append(l.head[:0], head...)
	}
	if len(l.consumed) > consumed {
		l.near.forget()
	}
}

// owned gives the entry with copies of its strings, as those of the event do not last. The
// topic mostly is that of another entry.
func (l *lookedTimeline) owned(e Entry) Entry {
	e.Label, e.ID = strings.Clone(e.Label), strings.Clone(e.ID)
	if n := len(l.head); n > 0 && l.head[n-1].Source.Topic == e.Source.Topic {
		e.Source.Topic = l.head[n-1].Source.Topic
	} else {
		e.Source.Topic = strings.Clone(e.Source.Topic)
	}
	return e
}
