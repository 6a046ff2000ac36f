package model

// yieldDetector takes the steps of the detector's world.
type yieldDetector = func(Step, detectorState)

// next yields the steps that are possible in the world of a shard's owners.
func (m *detecting) next(s *detectorState, yield yieldDetector) {
	for i := range uint8(owners) {
		o := &s.owners[i]
		switch o.phase {
		case idle:
			m.confirm(*s, i, yield)
		case confirmed:
			m.initialise(*s, i, yield)
		case adding:
			m.request(s, i, call{addPartitions, o.epoch, o.tx}, yield)
		case producing:
			if o.tx.wait&toChangelog != 0 {
				m.request(s, i, call{produceChangelog, o.epoch, o.tx}, yield)
			}
			if o.tx.wait&toAlerts != 0 {
				m.request(s, i, call{produceAlerts, o.epoch, o.tx}, yield)
			}
		case ending:
			m.request(s, i, call{kind: endTxn, epoch: o.epoch}, yield)
		case saving:
			m.save(*s, i, yield)
		case restoring:
			m.restore(s, i, yield)
		case ready:
			m.evaluate(s, i, yield)
		}
		m.trim(*s, i, yield)
		m.crash(s, i, yield)
	}
	m.arriveLate(s, yield)
	m.outside(s, yield)
	m.clock(s, yield)
}

// initialise asks for a session. The coordinator aborts an open transaction, asks the
// owner to wait, and is asked again (Producer.Init). If it meets another open transaction
// then, that one is aborted too: seldom, and counted.
func (m *detecting) initialise(s detectorState, i uint8, yield yieldDetector) {
	o := &s.owners[i]
	if o.waited && s.busyOwner() && !m.off.collideSeldom {
		if s.left.collisions == 0 {
			return
		}
		s.left.collisions--
		s.takes = 0
	}
	m.request(&s, i, call{kind: initProducer}, yield)
}

// busyOwner tells whether an owner is in the middle of the open transaction.
func (s *detectorState) busyOwner() bool {
	for i := range s.owners {
		o := &s.owners[i]
		if s.txn.state == ongoing && o.epoch == s.txn.epoch && (o.phase == adding || o.phase == producing || o.phase == ending) {
			return true
		}
	}
	return false
}

// request sends a request and waits for its answer, or for its time-out.
func (m *detecting) request(s *detectorState, i uint8, c call, yield yieldDetector) {
	t := *s
	said := m.execute(&t, c)
	if said == wait && t.txn == s.txn {
		return // asked again until something else has changed
	}
	u := t
	m.answered(&u, i, c, said)
	yield(say("owner %d: "+c.kind.String()+[...]string{"", ": asked to wait", ": fenced", ": refused"}[said], i), u)
	if s.left.losses == 0 {
		return
	}
	t.fail()
	m.unknown(&t, i, c)
	yield(say("owner %d: "+c.kind.String()+" is executed, but the answer is lost", i), t)

	t = *s
	t.fail()
	if t.keep(c) {
		m.unknown(&t, i, c)
		yield(say("owner %d: "+c.kind.String()+" takes too long, and still travels", i), t)
	}
	if c.kind == produceChangelog || c.kind == produceAlerts {
		t = *s
		t.fail()
		said := refused
		if m.off.allAnswered {
			said = done
		}
		m.answered(&t, i, c, said)
		yield(say("owner %d: "+c.kind.String()+" is answered with an error", i), t)
	}
}

// fail uses up one loss; takes before it do not count as livelock.
func (s *detectorState) fail() {
	s.left.losses--
	s.takes = 0
}

// unknown is the end of a request without an answer: InitProducerID is the only
// continuation (D4), and it may itself be repeated (Producer.Init).
func (m *detecting) unknown(s *detectorState, i uint8, c call) {
	if c.kind == initProducer || c.kind == endTxn && m.off.endOnce || c.kind == addPartitions && m.off.addOnce {
		return
	}
	m.lose(s, i)
}

// answered goes on with a broker's answer.
func (m *detecting) answered(s *detectorState, i uint8, c call, said answer) {
	o := &s.owners[i]
	switch {
	case said == wait:
		o.waited = true
		return
	case said != done:
		m.lose(s, i)
		return
	}
	switch c.kind {
	case initProducer:
		o.epoch = s.txn.epoch
		o.waited = false
		if m.count {
			s.takes++
		}
		o.tx = transaction{entry: entry{kind: claimed}, parts: toChangelog}
		o.phase = adding
		if m.off.claim {
			o.phase, o.tx = restoring, transaction{}
			m.begin(s, o, s.length) // a claim that would be written now
		}
	case addPartitions:
		o.phase, o.tx.wait = producing, o.tx.parts
	case produceChangelog:
		o.tx.wait &^= toChangelog
		o.tx.at = s.length - 1
	case produceAlerts:
		o.tx.wait &^= toAlerts
	case endTxn:
		m.ended(s, o)
	}
	if o.phase == producing && o.tx.wait == 0 {
		o.phase = ending
	}
}

// ended goes on behind a committed transaction: a claim, or a batch, which is now
// applied to the local copy (D3).
func (m *detecting) ended(s *detectorState, o *owner) {
	switch {
	case o.tx.entry.kind == claimed:
		at := o.tx.at
		o.phase, o.tx = restoring, transaction{}
		m.begin(s, o, at)
	case m.off.stateInside:
		o.phase = saving
	default:
		m.apply(s, o)
	}
}

func (m *detecting) apply(s *detectorState, o *owner) {
	o.keepDisk(s)
	o.copy.values, o.copy.at, o.copy.caughtUp = o.tx.entry.values, o.tx.at+1, s.now
	o.phase, o.tx = ready, transaction{}
	s.takes = 0
}

// keepDisk keeps the copy as it is: a crash after the next write may bring it back.
func (o *owner) keepDisk(s *detectorState) {
	o.disk = localCopy{}
	if s.left.crashes > 0 {
		o.disk = o.copy
	}
}

// save writes the state after the transaction, for mutants that break D3.
func (m *detecting) save(s detectorState, i uint8, yield yieldDetector) {
	o := &s.owners[i]
	o.tx.entry.kind, o.tx.at = plain, s.length
	s.append(o.tx.entry)
	m.apply(&s, o)
	yield(say("owner %d writes the state outside of the transaction", i), s)
}

// lose drops the batch (detector.run). The local copy stays as it is.
func (m *detecting) lose(s *detectorState, i uint8) {
	o := &s.owners[i]
	o.phase, o.epoch, o.waited, o.found, o.tx = idle, 0, false, workLog{}, transaction{}
	if !m.off.workOffset {
		o.next = 0
	}
}

// confirm asks the group whether the shard is still this owner's (D5).
func (m *detecting) confirm(s detectorState, i uint8, yield yieldDetector) {
	if s.assigned != i && (!m.off.confirm || s.txn.epoch == 0) {
		return
	}
	s.owners[i].phase, s.owners[i].found = confirmed, s.workLog()
	if s.assigned != i {
		yield(say("owner %d takes the shard without asking the group", i), s)
		return
	}
	yield(say("owner %d hears from the group that the shard is its own", i), s)
}

// crash ends an owner and starts it again. Its request may go on travelling; of
// its disk all is left, or all but the last write, or nothing.
func (m *detecting) crash(s *detectorState, i uint8, yield yieldDetector) {
	if s.left.crashes == 0 {
		return
	}
	t := *s
	t.left.crashes--
	t.takes = 0
	was := t.owners[i]
	if t.left.crashes == 0 {
		for k := range t.owners {
			t.owners[k].disk = localCopy{}
		}
	}
	m.lose(&t, i)
	o := &t.owners[i]
	o.next = 0
	yield(say("owner %d crashes", i), t)
	if c := was.travelling(); c.kind != noCall {
		u := t
		if u.keep(c) {
			yield(say("owner %d crashes, its "+c.kind.String()+" still travels", i), u)
		}
	}
	if was.disk != was.copy {
		o.copy = was.disk
		yield(say("owner %d crashes, and loses the last write to its disk", i), t)
	}
	if was.copy != (localCopy{}) && was.disk != (localCopy{}) {
		o.copy = localCopy{}
		yield(say("owner %d crashes, and loses its disk", i), t)
	}
}

// travelling is the request that an owner waits for.
func (o *owner) travelling() call {
	switch {
	case o.phase == confirmed:
		return call{kind: initProducer}
	case o.phase == adding:
		return call{addPartitions, o.epoch, o.tx}
	case o.phase == producing && o.tx.wait&toChangelog != 0:
		return call{produceChangelog, o.epoch, o.tx}
	case o.phase == producing:
		return call{produceAlerts, o.epoch, o.tx}
	case o.phase == ending:
		return call{kind: endTxn, epoch: o.epoch}
	}
	return call{}
}

// keep puts a request among the late ones; false: there are too many.
func (s *detectorState) keep(c call) bool {
	c.tx.wait, c.tx.at = 0, 0
	for i := range s.late {
		if s.late[i].kind == noCall {
			s.late[i] = c
			return true
		}
	}
	return false
}

// arriveLate executes a late request, or loses it.
func (m *detecting) arriveLate(s *detectorState, yield yieldDetector) {
	for i, c := range s.late {
		if c.kind == noCall {
			continue
		}
		t := *s
		copy(t.late[i:], s.late[i+1:])
		t.late[overdue-1] = call{}
		t.takes = 0
		yield(say("an old "+c.kind.String()+" (epoch %d) is lost", c.epoch), t)
		u := t
		switch m.execute(&u, c) {
		case done, wait:
			if u != t {
				yield(say("an old "+c.kind.String()+" (epoch %d) arrives", c.epoch), u)
			}
		}
	}
}
