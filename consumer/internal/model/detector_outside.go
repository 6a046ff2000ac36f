package model

// outside yields the steps of brokers, coordinator and group.
func (m *detecting) outside(s *detectorState, yield yieldDetector) {
	for _, part := range [...]uint8{toChangelog, toAlerts} {
		if s.txn.markers&part != 0 {
			t := *s
			m.writeMarker(&t, part)
			yield(say([...]string{"", "the marker is written to the changelog", "the marker is written to the alerts"}[part]), t)
		}
	}
	if s.left.rebalances > 0 {
		t := *s
		t.left.rebalances--
		t.takes = 0
		t.assigned = 1 - s.assigned
		yield(say("the group gives the shard to owner %d; the other one does not know yet", t.assigned), t)
	}
	if s.left.timeouts > 0 && s.txn.state == ongoing {
		t := *s
		t.left.timeouts--
		t.takes = 0
		t.txn.abort()
		yield(say("the coordinator aborts a transaction that takes too long"), t)
	}
	if s.left.leaders > 0 && s.length > 0 {
		t := *s
		t.left.leaders--
		t.oldLeader = 1 + s.length
		yield(say("the changelog, which ends at %d, gets another leader; the old one goes on answering", s.length), t)
	}
	if s.oldLeader > 0 {
		t := *s
		t.oldLeader = 0
		yield(say("the old leader learns that it is none"), t)
	}
	if s.left.remakes > 0 && s.length > 0 && !s.txn.busy() {
		m.remake(*s, yield)
	}
}

// remake empties the changelog while no owner runs. Topics that are made again
// under running owners are left to tests of the real code.
func (m *detecting) remake(s detectorState, yield yieldDetector) {
	s.left.remakes--
	s.takes = 0
	s.log, s.length, s.logEpoch, s.oldLeader = [logRoom]entry{}, 0, 0, 0
	s.late, s.txn = [overdue]call{}, coordinator{epoch: s.txn.epoch}
	s.alerts.open = [openRoom]uint8{}
	s.topic++
	s.lost = s.alerts.seen > 0
	for i := range s.owners {
		m.lose(&s, uint8(i))
		s.owners[i].next = 0
	}
	yield(say("all owners stop, the changelog is deleted and made again, they start"), s)
}

// clock yields the steps of time: compaction, and days that go by.
func (m *detecting) clock(s *detectorState, yield yieldDetector) {
	if s.left.cleans > 0 {
		t := *s
		m.clean(&t)
		if t != *s {
			t.left.cleans--
			yield(say("the cleaner compacts the changelog"), t)
		}
	}
	if s.left.ticks > 0 {
		t := *s
		m.tick(&t)
		yield(say("days go by: half of delete.retention.ms"), t)
	}
}

// tick lets half of delete.retention.ms (3.5 days) go by. An owner that is fully
// up to date notes that it still is (MarkCaughtUp). The one assumption about time
// is made here: in half of delete.retention.ms an owner finds out that the shard
// is not its own any more, because its session with the group has ended, or
// because it has tried to commit.
func (m *detecting) tick(s *detectorState) {
	s.left.ticks--
	s.takes = 0
	s.now++
	for i := range s.owners {
		o := &s.owners[i]
		former := s.assigned != uint8(i) || o.epoch != s.txn.epoch
		switch {
		case former && !m.off.zombiesEnd:
			m.lose(s, uint8(i))
		case o.phase == ready:
			o.copy.caughtUp = s.now
		}
	}
}
