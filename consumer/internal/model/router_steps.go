package model

// next yields the steps that are possible in the world of routers.
func (m *routing) next(s *routerState, yield func(Step, routerState)) {
	for i := range uint8(instances) {
		in := &s.instances[i]
		for p := range uint8(partitions) {
			if m.ends[p] == 0 {
				continue // not used in this scenario
			}
			switch in.routers[p].phase {
			case closed:
				m.open(*s, i, p, yield)
			case reading:
				m.read(*s, i, p, yield)
				m.commit(s, i, p, yield)
				m.notice(*s, i, p, yield)
			}
		}
		for l := range uint8(producers) {
			m.send(*s, i, l, yield)
			for slot := range in.producers[l].sending {
				m.answer(s, i, l, slot, yield)
			}
		}
		m.crash(*s, i, yield)
	}
	m.arriveLate(s, yield)
	m.commitLate(*s, yield)
	m.outside(s, yield)
}

// read hands the events of one record to the producers that they match: router.record.
// It waits while a producer is full.
func (m *routing) read(s routerState, i, p uint8, yield func(Step, routerState)) {
	in := &s.instances[i]
	r := &in.routers[p]
	if r.topic != s.incarnation || r.read < s.start[p] || r.read >= s.end[p] || m.moved(&s, r, p) {
		return
	}
	epoch := s.log[p].of[r.read]
	for n, e := range m.events {
		if e.partition != p || e.offset != r.read {
			continue
		}
		for l := range producers {
			if e.producers&(1<<l) != 0 && !in.producers[l].filling.add(m.number(n, r.topic, epoch)) {
				return
			}
		}
	}
	r.epochs[r.read] = epoch
	r.read++
	yield(say("instance %d reads offset %d of partition %d and hands it to the producers", i, r.read-1, p), s)
}

// send sends the events that wait in a producer as one request: partitionProducer.run (R2).
func (m *routing) send(s routerState, i, l uint8, yield func(Step, routerState)) {
	out := &s.instances[i].producers[l]
	slot := 0
	if m.off.oneInFlight && !out.sending[0].empty() {
		slot = 1
	}
	if out.filling.empty() || !out.sending[slot].empty() {
		return
	}
	out.sending[slot], out.filling = out.filling, batch{}
	e, _, _ := m.of(out.sending[slot][0])
	yield(say("instance %d sends what waits for "+outputName(int(l))+", from offset %d of partition %d on", i, e.offset, e.partition), s)
}

// answer ends the wait for a request, one way or another. A request that is not
// acknowledged stays in its slot and is sent again, byte for byte (partitionProducer.send, R2).
func (m *routing) answer(s *routerState, i, l uint8, slot int, yield func(Step, routerState)) {
	if s.instances[i].producers[l].sending[slot].empty() {
		return
	}
	t := *s
	sent := &t.instances[i].producers[l].sending[slot]
	m.append(&t, l, *sent)
	if s.left.losses > 0 {
		u := t
		u.left.losses--
		yield(say("the request of instance %d for "+outputName(int(l))+" is executed, but the answer is lost; it is sent again", i), u)

		u = *s
		u.left.losses--
		if u.keep(l, *sent) {
			yield(say("the request of instance %d for "+outputName(int(l))+" takes too long; it is sent again while the first still travels", i), u)
		}
	}
	*sent = batch{}
	if slot == 0 {
		out := &t.instances[i].producers[l]
		out.sending[0], out.sending[1] = out.sending[1], batch{}
	}
	yield(say("the request of instance %d for "+outputName(int(l))+" is acknowledged", i), t)
}

// commit commits the position of a router to the group, which refuses it if the
// partition belongs to another instance by now; or the request travels for so long
// that the instance gives up waiting (Service.commit).
func (m *routing) commit(s *routerState, i, p uint8, yield func(Step, routerState)) {
	at := m.position(&s.instances[i], p)
	if s.owner[p] != i && !m.off.commitGeneration || s.committed[p] == at {
		return
	}
	t := *s
	t.committed[p] = at
	if at.at >= s.committed[p].at || s.owner[p] == i {
		yield(say("instance %d commits offset %d of partition %d", i, at.at, p), t)
	}
	if s.left.losses > 0 && s.delayed.instance == none {
		t = *s
		t.left.losses--
		t.delayed = lateCommit{i, p, at}
		yield(say("instance %d commits offset %d of partition %d, but the request is delayed", i, at.at, p), t)
	}
}

func (m *routing) commitLate(s routerState, yield func(Step, routerState)) {
	c := s.delayed
	if c.instance == none {
		return
	}
	s.delayed = lateCommit{instance: none}
	if s.owner[c.partition] == c.instance || m.off.commitGeneration {
		s.committed[c.partition] = c.offset
	}
	yield(say("the delayed commit of instance %d arrives: offset %d of partition %d", c.instance, c.offset.at, c.partition), s)
}

// notice ends a router that has learned that the partition is not its own any
// more, or that the log does not hold its next record. In the second case the router
// commits its position (Service.routeOnce).
func (m *routing) notice(s routerState, i, p uint8, yield func(Step, routerState)) {
	in := &s.instances[i]
	r := &in.routers[p]
	switch {
	case s.owner[p] != i:
		*r = router{}
		yield(say("instance %d learns that partition %d is not its own any more", i, p), s)
	case r.topic != s.incarnation || r.read < s.start[p] || m.moved(&s, r, p):
		s.committed[p] = m.position(in, p)
		*r = router{}
		yield(say("instance %d finds partition %d of the topic it knew gone, and commits how far it came", i, p), s)
	}
}

// crash ends an instance and starts it again, empty; its requests go on travelling.
// One that stays away is one that does not open anything.
func (m *routing) crash(s routerState, i uint8, yield func(Step, routerState)) {
	if s.left.crashes == 0 {
		return
	}
	s.left.crashes--
	in := &s.instances[i]
	for l := range in.producers {
		for _, c := range in.producers[l].sending {
			if !c.empty() {
				s.keep(uint8(l), c)
			}
		}
	}
	*in = instance{}
	yield(say("instance %d crashes", i), s)
}

// keep puts a request among the late ones; false: there are too many.
func (s *routerState) keep(l uint8, c batch) bool {
	add := request{1 + l, c}
	for i := range s.late {
		if s.late[i].less(add) {
			s.late[i], add = add, s.late[i]
		}
	}
	return add == request{}
}

func (a request) less(b request) bool {
	if a.producer != b.producer {
		return a.producer < b.producer
	}
	for i := range a.batch {
		if a.batch[i] != b.batch[i] {
			return a.batch[i] < b.batch[i]
		}
	}
	return false
}

// arriveLate executes a late request, or loses it.
func (m *routing) arriveLate(s *routerState, yield func(Step, routerState)) {
	for i, late := range s.late {
		if late == (request{}) || i > 0 && late == s.late[i-1] {
			continue
		}
		t := *s
		copy(t.late[i:], s.late[i+1:])
		t.late[lateRoom-1] = request{}
		e, _, _ := m.of(late.batch[0])
		yield(say("an old request for "+outputName(int(late.producer-1))+" is lost (from offset %d of partition %d)", e.offset, e.partition), t)
		m.append(&t, late.producer-1, late.batch)
		yield(say("an old request for "+outputName(int(late.producer-1))+" arrives (from offset %d of partition %d)", e.offset, e.partition), t)
	}
}

// append executes a request at the broker and lets the detector of the shard evaluate its
// records: the detector drops each one that is not newer than the last source of the same
// (topic id, partition) (D2, R3). The work log itself need not be kept: detectors read it
// in order, from its beginning.
func (m *routing) append(s *routerState, l uint8, c batch) {
	for _, n := range c {
		if n == 0 {
			break
		}
		e, topic, epoch := m.of(n)
		if l == deadLetter {
			m.arrived(s, l, e, topic, epoch) // at least once is enough (R5)
			continue
		}
		from := [2]uint8{topic, e.partition}
		if m.off.compareTopicID {
			from[0] = 0
		}
		if m.off.comparePartition {
			from[1] = 0
		}
		last := &s.last[l][from[0]][from[1]]
		if !m.off.dropRepeats && !m.newer(e, epoch, *last) {
			continue
		}
		*last = n
		m.arrived(s, l, e, topic, epoch)
	}
}

// newer compares sources (Tx.Newer).
func (m *routing) newer(e event, epoch, last uint8) bool {
	if last == 0 {
		return true
	}
	was, _, before := m.of(last)
	if epoch != before && !m.off.compareEpoch {
		return epoch > before
	}
	if m.off.compareIndex {
		return e.offset > was.offset
	}
	return e.offset > was.offset || e.offset == was.offset && e.index > was.index
}

// arrived notes an accepted record, and whether it was the one to come next.
func (m *routing) arrived(s *routerState, l uint8, e event, topic, epoch uint8) {
	p := int(e.partition)
	before := m.matching(s, int(l), topic, epoch, p, e.offset)
	for _, other := range m.events { // of the same record
		if other.partition == e.partition && other.offset == e.offset && other.index < e.index && other.producers&(1<<l) != 0 {
			before++
		}
	}
	switch n := &s.accepted[l][topic][epoch][p]; {
	case before == *n:
		*n++
	case l == deadLetter && before < *n: // a dead letter may come twice
	case before > *n:
		s.broken = gap
	default:
		s.broken = repeat
	}
}
