package model

// open decides where to start and has it committed before anything is produced:
// Service.open, Service.start (R1, R4, R7, R8).
func (m *routing) open(s routerState, i, p uint8, yield func(Step, routerState)) {
	if s.owner[p] != i {
		return
	}
	r := &s.instances[i].routers[p]
	from, known := m.start(&s, p)
	if reason := m.refuses(&s, p, from, known); reason != "" {
		if !m.accept {
			r.phase = stopped
			yield(say("instance %d refuses to open partition %d at offset %d: "+reason, i, p, from.at), s)
			return
		}
		from.at = min(from.at, s.intact(p, from.epoch))
	}
	from.at = max(from.at, s.start[p])
	*r = router{phase: reading, topic: s.incarnation, read: from.at}
	for at := range from.at {
		r.epochs[at] = s.log[p].of[at] // only that of the record before is ever asked for
	}
	if s.began[p] == none {
		s.began[p] = from.at
	}
	if m.off.commitStart {
		yield(say("instance %d opens partition %d at offset %d, which it does not commit", i, p, from.at), s)
		return
	}
	s.committed[p] = offset{s.incarnation, from.at, r.before(from.at)}
	yield(say("instance %d opens partition %d at offset %d", i, p, from.at), s)
}

// start is the position that a router begins at: that of the group; without one,
// that of the shards' state (R7); without either, the end of the log that the
// configuration names. known: it is a position that a router has reached.
func (m *routing) start(s *routerState, p uint8) (from offset, known bool) {
	was := s.committed[p]
	begin := offset{topic: s.incarnation, at: s.start[p]}
	switch {
	case was.topic == s.incarnation || was.topic != none && m.off.checkTopicID:
		return was, true
	case was.topic != none:
		return begin, false
	}
	if routed, ok := m.routed(s, p); ok && !m.off.startOfLog {
		return routed, true
	}
	if m.latest {
		begin.at = s.end[p]
	}
	return begin, false
}

// routed is the position in the state: of the shard that has come least far, the
// record of its last source, which may have more events. A shard that has nothing
// of the partition may lack all.
func (m *routing) routed(s *routerState, p uint8) (from offset, ok bool) {
	from = offset{s.incarnation, none, 0}
	for l := range s.last {
		at, epoch := uint8(0), uint8(0)
		if last := s.last[l][s.incarnation][p]; last != 0 {
			e, _, written := m.of(last)
			at, epoch, ok = e.offset, written, true
		}
		if at < from.at != m.off.lowestShard || from.at == none {
			from.at, from.epoch = at, epoch
		}
	}
	return from, ok
}

// refuses tells why a router does not open its partition at a position.
func (m *routing) refuses(s *routerState, p uint8, from offset, known bool) string {
	goOn := m.off.stopAtLoss
	if s.committed[p].topic == none {
		goOn = m.off.stopAtTrimmed
	}
	switch {
	case !known:
	case from.at < s.start[p] && !goOn:
		return "retention has deleted what comes next"
	case from.at > s.end[p]:
		return "the log ends below it"
	case s.intact(p, from.epoch) < from.at && !m.off.checkOpening:
		return "the log was cut below it and written anew"
	}
	return ""
}

// intact is a leader's answer to OffsetForLeaderEpoch: where the records of an epoch, or
// of earlier ones, end.
func (s *routerState) intact(p, epoch uint8) uint8 {
	at := s.start[p]
	for at < s.end[p] && s.log[p].of[at] <= epoch {
		at++
	}
	return at
}

// moved tells whether a router stands behind records that the log has lost (R8).
// That is checked with each fetch that meets another leader; a leader refuses those
// that name the epoch of a former one.
func (m *routing) moved(s *routerState, r *router, p uint8) bool {
	return s.intact(p, r.before(r.read)) < r.read && r.read > s.start[p] && !m.off.checkFetches
}
