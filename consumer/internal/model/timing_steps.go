package model

type yieldTiming = func(Step, timingState)

// next yields the steps that are possible in the world of event time.
func (m *timing) next(s *timingState, yield yieldTiming) {
	for i := range uint8(instances) {
		for p := range uint8(inputs) {
			r := &s.routers[i][p]
			switch {
			case !r.open:
				m.open(*s, i, p, yield)
				continue
			case r.sending.source != 0:
				m.answer(s, i, p, yield)
			default:
				m.hand(*s, i, p, yield)
				m.tellTime(*s, i, p, yield)
				m.commit(*s, i, p, yield)
			}
			m.tellIdle(*s, i, p, yield)
			if s.owner[p] != i {
				t := *s
				t.routers[i][p] = timeRouter{}
				yield(say("instance %d learns that partition %d is not its own any more", i, p), t)
			}
		}
		m.crash(*s, i, yield)
	}
	m.arriveLate(s, yield)
	m.sweep(*s, yield)
	m.write(*s, yield)
	m.outside(s, yield)
}

func (m *timing) open(s timingState, i, p uint8, yield yieldTiming) {
	if s.owner[p] != i {
		return
	}
	s.routers[i][p] = timeRouter{open: true, read: s.committed[p], committed: s.committed[p]}
	if m.off.opening {
		s.routers[i][p].told = busy
	}
	yield(say("instance %d opens partition %d at offset %d", i, p, s.committed[p]), s)
}

// hand reads a record and hands it on: as an entry if it matches; else, unless the
// shard knows that the partition is not idle, as a busy mark behind it.
func (m *timing) hand(s timingState, i, p uint8, yield yieldTiming) {
	r := &s.routers[i][p]
	if r.read >= m.end(&s, p) {
		return
	}
	n := m.at(p, r.read)
	a := m.arrivals[n]
	r.read++
	r.newest = max(r.newest, a.time)
	switch {
	case a.id != 0:
		r.sending = handOver{source: entryAt(r.read - 1), arrival: 1 + n, of: p}
	case r.told != busy:
		r.sending = m.mark(r, p, false)
	default:
		s.note(i, p)
	}
	r.told = busy
	yield(say("instance %d reads offset %d of partition %d", i, r.read-1, p), s)
}

// note notes how far the owner of a partition has handed it on (see write).
func (s *timingState) note(i, p uint8) {
	if s.owner[p] == i {
		s.handed[p] = max(s.handed[p], s.routers[i][p].read)
	}
}

// mark tells that all below the router's position was handed on, how far event time
// has come by then, and whether the router stands at the end of its log.
func (m *timing) mark(r *timeRouter, p uint8, idle bool) handOver {
	r.marked = 1 + r.read
	h := handOver{source: busyAt(r.read), of: p, newest: r.newest, idle: idle}
	if idle && !m.off.idleIsNewer {
		h.source = idleAt(r.read)
	}
	return h
}

// tellTime sends a busy mark, as routers do now and then when time has moved on.
func (m *timing) tellTime(s timingState, i, p uint8, yield yieldTiming) {
	r := &s.routers[i][p]
	if r.told != busy || r.marked > r.read || r.newest == 0 {
		return
	}
	r.sending = m.mark(r, p, false)
	yield(say("instance %d tells the time of partition %d: %d", i, p, r.newest), s)
}

// tellIdle sends an idle mark at the end of the log. The router itself has committed its
// position before, so that the next router starts behind the mark, and the first entry or
// mark of that router revokes it.
func (m *timing) tellIdle(s timingState, i, p uint8, yield yieldTiming) {
	r := &s.routers[i][p]
	if r.read != m.end(&s, p) || r.told == atEnd || r.committed < r.read && !m.off.idleCommitted {
		return
	}
	switch {
	case r.sending.source == 0:
		r.sending = m.mark(r, p, true)
	case !m.off.behindEntries:
		return
	default:
		m.accept(&s, m.mark(r, p, true), false)
	}
	r.told = atEnd
	yield(say("instance %d tells the shard that partition %d is idle at offset %d", i, p, r.read), s)
}

// answer ends the wait for a request: it is acknowledged, or sent again.
func (m *timing) answer(s *timingState, i, p uint8, yield yieldTiming) {
	h := s.routers[i][p].sending
	deliver := func(s *timingState, words string) {
		t := *s
		m.accept(&t, h, false)
		yield(say(words, i, p), t)
		if m.rejectable(s, h) {
			t = *s
			t.left.rejects--
			m.accept(&t, h, true)
			yield(say(words+"; the evaluation is rejected", i, p), t)
		}
	}
	if s.left.losses > 0 {
		t := *s
		t.left.losses--
		deliver(&t, "the request of instance %d for partition %d is executed, but the answer is lost")
		if t.keep(h) {
			yield(say("the request of instance %d for partition %d takes too long; it is sent again while the first still travels", i, p), t)
		}
	}
	t := *s
	t.routers[i][p].sending = handOver{}
	t.note(i, p)
	deliver(&t, "the request of instance %d for partition %d is acknowledged")
}

// commit commits the position of a router; all below it is acknowledged (R1).
func (m *timing) commit(s timingState, i, p uint8, yield yieldTiming) {
	r := &s.routers[i][p]
	if s.owner[p] != i || r.committed == r.read {
		return
	}
	r.committed, s.committed[p] = r.read, r.read
	yield(say("instance %d commits offset %d of partition %d", i, r.read, p), s)
}

func (m *timing) crash(s timingState, i uint8, yield yieldTiming) {
	if s.left.crashes == 0 {
		return
	}
	s.left.crashes--
	for p := range s.routers[i] {
		s.keep(s.routers[i][p].sending)
	}
	s.routers[i] = [inputs]timeRouter{}
	yield(say("instance %d crashes", i), s)
}

// keep puts a request among the late ones; false: there are too many.
func (s *timingState) keep(h handOver) bool {
	for i := range s.late {
		if s.late[i].source == 0 {
			s.late[i] = h
			return true
		}
	}
	return h.source == 0
}

// arriveLate executes a late request, or loses it.
func (m *timing) arriveLate(s *timingState, yield yieldTiming) {
	for i, h := range s.late {
		if h.source == 0 {
			continue
		}
		t := *s
		copy(t.late[i:], s.late[i+1:])
		t.late[timingRoom-1] = handOver{}
		yield(say("an old request for partition %d is lost", h.of), t)
		m.accept(&t, h, false)
		yield(say("an old request for partition %d arrives (source %d)", h.of, h.source), t)
	}
}

// rejectable: the record is the first delivery of an event, and its evaluation may fail.
func (m *timing) rejectable(s *timingState, h handOver) bool {
	if h.arrival == 0 || s.left.rejects == 0 || h.source <= s.shard.last[h.of] {
		return false
	}
	r := &s.results[m.arrivals[h.arrival-1].id-1]
	return !r.evaluated && !r.rejected && !r.refused
}

// accept lets the shard take a work record: an entry or a mark.
func (m *timing) accept(s *timingState, h handOver, reject bool) {
	d := &s.shard
	mark := h.arrival == 0
	if h.source <= d.last[h.of] && !(mark && m.off.orderMarks) && !m.off.dropRepeats {
		return
	}
	d.last[h.of] = max(d.last[h.of], h.source)
	d.heard[h.of] = true
	if mark {
		d.newest[h.of] = max(d.newest[h.of], h.newest)
		d.idle[h.of] = h.idle
	} else {
		d.newest[h.of] = max(d.newest[h.of], m.arrivals[h.arrival-1].time)
		d.idle[h.of] = d.idle[h.of] && m.off.entryRevokes
	}
	d.reached = max(d.reached, m.horizon(d))
	if d.writer == 1+h.of && d.idle[h.of] {
		d.writer = 0
	}
	if !mark {
		m.evaluate(s, h.arrival-1, reject)
	}
	if m.off.marksInside && !mark {
		s.durable = *d
	}
}

// evaluate evaluates an entry: unless it is late; unless its id is remembered.
func (m *timing) evaluate(s *timingState, n uint8, reject bool) {
	d, a := &s.shard, m.arrivals[n]
	r := &s.results[a.id-1]
	stream := max(d.newest[0], d.newest[1])
	from := d.newest[a.partition]
	if m.off.ownTime {
		from = stream
	}
	if a.time+lateness < from {
		r.refused = true
		if a.time+lateness >= m.delivered(n) {
			s.broken = wronglyLate
		}
		return
	}
	if until := d.until[a.id-1]; until != 0 && until >= m.forgotten(d) {
		if d.gone[a.id-1] {
			s.broken = knownByChance
		}
		return
	}
	if reject {
		r.rejected = true
		if m.off.rejectForgets {
			d.until[a.id-1], d.gone[a.id-1] = stream+within, false
		}
		return
	}
	if r.evaluated && m.delivered(n) <= r.bound {
		s.broken = twice
	}
	r.evaluated, r.bound = true, d.newest[a.partition]+within
	d.until[a.id-1], d.gone[a.id-1] = stream+within, false
	if m.off.fromStream {
		d.until[a.id-1] = a.time + within
	}
	early := a.time+lateness >= d.reached || d.writer == 1+a.partition
	if d.writer = 1 + a.partition; a.time < d.expires {
		if d.swept && early {
			s.broken = sweptTooEarly
		}
		if !d.swept {
			return // the value counts one more
		}
	}
	d.expires, d.swept = a.time+lifetime, false
}

// forgotten is the time until before which an id must have been remembered to be unknown.
func (m *timing) forgotten(d *timeShard) uint8 {
	if m.off.highest {
		return m.horizon(d)
	}
	return d.reached
}

// sweep removes ids that are forgotten and values that lie behind the horizon. It may run
// at any time, or not at all.
func (m *timing) sweep(s timingState, yield yieldTiming) {
	was := s.shard
	h := m.horizon(&s.shard)
	for i, until := range s.shard.until {
		if until != 0 && until < m.forgotten(&s.shard) {
			s.shard.gone[i] = true
		}
	}
	if m.off.moment {
		h = s.shard.reached
	}
	s.shard.swept = was.swept || was.expires > 0 && was.expires+lateness < h
	if s.shard != was {
		yield(say("the shard sweeps what lies behind its horizon, %d, and forgets by the highest so far, %d", h, s.shard.reached), s)
	}
}

// write writes the next record of the input. The one assumption is made here: while
// a partition counts as idle, or is about to, and has a record that no router has
// handed on, time does not move on by the distances above (hours and days).
func (m *timing) write(s timingState, yield yieldTiming) {
	if int(s.written) == len(m.arrivals) {
		return
	}
	for p := range uint8(inputs) {
		if s.handed[p] < m.end(&s, p) && s.idleAt(p, s.handed[p]) && !m.off.idleReads {
			return
		}
	}
	a := m.arrivals[s.written]
	s.written++
	yield(say("an event of time %d is written to partition %d (id %d)", a.time, a.partition, a.id), s)
}

// idleAt tells whether the shard takes a partition for idle at an offset, or will
// when a mark arrives that is under way.
func (s *timingState) idleAt(p, offset uint8) bool {
	d := &s.shard
	if d.idle[p] && marks(d.last[p], offset) {
		return true
	}
	for i := range s.routers {
		if h := &s.routers[i][p].sending; h.idle && marks(h.source, offset) {
			return true
		}
	}
	for _, h := range s.late {
		if h.idle && h.of == p && marks(h.source, offset) {
			return true
		}
	}
	return false
}

// marks tells whether a source is that of a mark at an offset.
func marks(source, offset uint8) bool { return busyAt(offset) <= source && source <= idleAt(offset) }

// outside yields rebalances of the group and restores of the shard.
func (m *timing) outside(s *timingState, yield yieldTiming) {
	for p := range uint8(inputs) {
		if s.left.rebalances > 0 {
			t := *s
			t.left.rebalances--
			t.owner[p] = 1 - s.owner[p]
			yield(say("the group gives partition %d to instance %d; the other one does not know yet", p, t.owner[p]), t)
		}
	}
	if s.left.restores > 0 && m.off.marksInside {
		t := *s
		t.left.restores--
		t.shard = s.durable
		yield(say("the shard is restored from its changelog"), t)
	}
}
