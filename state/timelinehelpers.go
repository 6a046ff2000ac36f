package state

import (
	"slices"
	"strings"
	"time"
)

// Observe adds the event to the timeline of this name, under a label, which may be "". An
// event that is there already under the label is not added again. One that lies further
// behind the newest of the timeline than any event in reach of it can still come, which is
// the longest span that Within was asked for and the store's MaxLateness, is not kept: it
// stands alone. Of more entries than Options.MaxSetMembers the oldest give way.
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
	l.own = Entry{Label: strings.Clone(label), Ref: s.at}
	l.own.ID = strings.Clone(s.at.ID)
	l.own.Source = Source{Topic: strings.Clone(s.at.Source.Topic), Partition: s.at.Source.Partition, Offset: s.at.Source.Offset, Index: s.at.Source.Index}
	if l.own.Time = instant(s.now); l.tooLate() {
		l.alone = true
		s.alone++
		return
	}
	if l.head.until != noTime && s.now < l.head.until {
		l.insertBlock()
		return
	}
	if l.insert(l.head, l.own) {
		l.head.count++
	}
	if len(l.head.entries) > timelineHead {
		l.spill()
	}
	l.bound()
}

// Within gives the entries from d before the event to d after it, both instants included,
// oldest first. Of an event that stands alone it gives the event. The entries are valid
// until Commit.
func (s *Scope) Within(name string, d time.Duration) []Entry {
	l := s.timeline(name)
	if l == nil || d < 0 {
		return nil
	}
	if l.alone {
		l.given = []Entry{l.own}
		return slices.Clone(l.given)
	}
	if int64(d) > l.head.reach {
		l.head.reach = int64(d)
		if l.head.exists {
			l.changed(l.head)
		}
	}
	from, to := addSaturating(s.now, -int64(d)), addSaturating(s.now, int64(d))
	var out []Entry
	for _, first := range l.near(addSaturating(from, -l.head.span), min(to, l.head.until)) {
		out = appendWithin(out, l.block(first).entries, from, to)
	}
	out = appendWithin(out, l.head.entries, from, to)
	l.given = out
	return slices.Clone(out)
}

func appendWithin(dst, entries []Entry, from, to int64) []Entry {
	for i := range entries {
		if at := nanos(entries[i].Time); at >= from && at <= to {
			dst = append(dst, entries[i])
		}
	}
	return dst
}

// Consume removes these entries, which Within has given. What a finding has consumed is
// its evidence.
func (s *Scope) Consume(name string, entries []Entry) {
	l := s.timeline(name)
	if l == nil || len(entries) == 0 {
		return
	}
	l.consumed = append(l.consumed, entries...)
	if l.alone {
		return
	}
	take := func(p *timelinePart) {
		kept := slices.DeleteFunc(slices.Clone(p.entries), func(e Entry) bool {
			return slices.ContainsFunc(entries, func(c Entry) bool { return c.ID == e.ID && compareEntries(c, e) == 0 })
		})
		if n := len(p.entries) - len(kept); n > 0 {
			p.entries = kept
			l.head.count -= int64(n)
			l.head.dirty = true
			l.changed(p)
		}
	}
	take(l.head)
	for _, b := range l.blocks {
		take(b)
	}
}

// StoodAlone gives how many events this evaluation has found too late for their timelines.
func (s *Scope) StoodAlone() int { return s.alone }
