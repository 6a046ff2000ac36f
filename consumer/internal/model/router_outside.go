package model

// outside yields the steps of the input topic and of the group.
func (m *routing) outside(s *routerState, yield func(Step, routerState)) {
	for p := range uint8(partitions) {
		if m.ends[p] == 0 {
			continue
		}
		if s.left.rebalances > 0 {
			t := *s
			t.left.rebalances--
			t.owner[p] = 1 - s.owner[p]
			yield(say("the group gives partition %d to instance %d; the other one does not know yet", p, t.owner[p]), t)
		}
		if s.left.trims > 0 && s.start[p] < s.end[p] {
			t := *s
			t.left.trims--
			t.start[p]++
			yield(say("retention deletes offset %d of partition %d", s.start[p], p), t)
		}
		if (m.latest || s.log[p].epoch > 0) && s.end[p] < m.ends[p] {
			t := *s
			t.log[p].of[t.end[p]] = t.log[p].epoch
			t.end[p]++
			yield(say("offset %d of partition %d is written (leader epoch %d)", s.end[p], p, t.log[p].epoch), t)
		}
		m.elect(s, p, yield)
		m.forget(*s, p, yield)
	}
	if s.left.remakes > 0 && s.incarnation+1 < incarnations {
		t := *s
		t.left.remakes--
		t.incarnation++
		t.start, t.end, t.log = [partitions]uint8{}, m.ends, [partitions]epochLog{}
		yield(say("the input topic is deleted and made again"), t)
	}
}

// elect yields the unclean elections of a partition: the end of the log is lost, and
// records written from there on have a higher leader epoch. Or, and that is assumed not
// to happen, a log comes back that an earlier election had cut.
func (m *routing) elect(s *routerState, p uint8, yield func(Step, routerState)) {
	if s.log[p].epoch+1 == epochs {
		return
	}
	for x := s.start[p]; x < s.end[p] && s.left.cuts > 0; x++ {
		t := *s
		t.left.cuts--
		if t.left.returns > 0 {
			t.old[p] = oldLog{t.end[p], t.log[p].of}
		}
		t.end[p] = x
		clear(t.log[p].of[x:])
		t.log[p].epoch++
		t.log[p].since[t.log[p].epoch] = x
		yield(say("an unclean election loses the records of partition %d from offset %d on", p, x), t)
	}
	if s.left.returns > 0 && s.old[p].end > 0 {
		t := *s
		t.left.returns--
		t.end[p], t.log[p].of = t.old[p].end, t.old[p].of
		t.log[p].epoch++
		t.log[p].since[t.log[p].epoch] = t.end[p]
		yield(say("an unclean election brings the old log of partition %d back, to offset %d", p, t.end[p]), t)
	}
}

// forget yields the changes of the group's position while no router of a partition
// runs: the position expires (R7), or, without R6, an instance of another configuration
// leaves one behind before it is refused. A service without state of the partition begins
// anew when its position has expired: that is not modelled. One thing is assumed: that no
// dead letter was lost on its way. The position covers dead letters, the state does not.
func (m *routing) forget(s routerState, p uint8, yield func(Step, routerState)) {
	for i := range s.instances {
		if s.instances[i].routers[p].phase == reading {
			return
		}
	}
	from, evaluated := m.routed(&s, p)
	arrived := !m.lacks(&s, deadLetter, s.incarnation, int(p), from.at, s.log[p].epoch)
	if s.left.expiries > 0 && s.committed[p].topic != none && evaluated && (arrived || m.off.expireAtRest) {
		t := s
		t.left.expiries--
		t.committed[p] = offset{topic: none, at: none}
		yield(say("the group forgets its position in partition %d", p), t)
	}
	if s.left.strangers > 0 && s.committed[p].topic == none && m.off.identity {
		s.left.strangers--
		if s.began[p] == none {
			s.began[p] = s.start[p]
		}
		s.committed[p] = offset{topic: s.incarnation, at: s.end[p]}
		yield(say("an instance of another configuration commits the end of partition %d as its start, and is refused", p), s)
	}
}
