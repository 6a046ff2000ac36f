package model

// answer is a broker's answer to a request.
type answer uint8

const (
	done    answer = iota
	wait           // CONCURRENT_TRANSACTIONS: nothing was done, ask again
	fenced         // the epoch is an old one
	refused        // no transaction to end
)

// execute lets the cluster execute a request. The cluster trusts the partitions that a
// producer writes to, as brokers do before KIP-890 (Kafka 4): a protocol that is safe
// with these is safe with stricter ones.
func (m *detecting) execute(s *detectorState, c call) answer {
	switch c.kind {
	case initProducer:
		return m.initProducer(s)
	case addPartitions:
		return s.txn.add(c.epoch, c.tx.parts)
	case produceChangelog:
		if c.epoch < s.logEpoch {
			return fenced
		}
		s.logEpoch = c.epoch
		s.append(c.tx.entry)
	case produceAlerts:
		if c.epoch < s.alerts.epoch {
			return fenced
		}
		s.alerts.epoch = c.epoch
		for _, a := range c.tx.alerts {
			s.alerts.add(a)
		}
	case endTxn:
		return s.txn.end(c.epoch)
	}
	return done
}

// initProducer opens a session, and fences and aborts an open transaction. The new
// epoch is for the next call, when the abort has been written out.
func (m *detecting) initProducer(s *detectorState) answer {
	t := &s.txn
	switch {
	case t.busy():
		return wait
	case m.off.fence:
		return done
	case t.state == ongoing:
		t.abort()
		return wait
	}
	*t = coordinator{epoch: t.epoch + 1}
	return done
}

func (t *coordinator) add(epoch, parts uint8) answer {
	switch {
	case epoch != t.epoch:
		return fenced
	case t.busy():
		return wait
	case t.state != ongoing:
		t.state, t.added = ongoing, 0
	}
	t.added |= parts
	return done
}

func (t *coordinator) end(epoch uint8) answer {
	switch {
	case epoch != t.epoch:
		return fenced
	case t.state == prepareCommit:
		return wait
	case t.state == completeCommit:
		return done // a repetition, as far as the coordinator can tell
	case t.state != ongoing:
		return refused
	}
	t.state, t.markers = prepareCommit, t.added
	return done
}

// abort ends a transaction in the name of a new epoch.
func (t *coordinator) abort() {
	t.epoch++
	t.state, t.markers = prepareAbort, t.added
}

// writeMarker ends the transaction in one partition. From then on the leader of
// the partition refuses older epochs.
func (m *detecting) writeMarker(s *detectorState, part uint8) {
	t := &s.txn
	t.markers &^= part
	commit := t.state == prepareCommit
	switch part {
	case toChangelog:
		kind := aborted
		if commit {
			kind = committed
		}
		s.append(entry{kind: kind})
		s.logEpoch = t.epoch
	case toAlerts:
		if commit {
			for _, a := range s.alerts.open {
				m.publish(s, a)
			}
		}
		s.alerts.open, s.alerts.epoch = [openRoom]uint8{}, t.epoch
	}
	if t.markers == 0 {
		t.state = completeAbort
		if commit {
			t.state = completeCommit
		}
	}
}

func (s *detectorState) append(e entry) {
	s.log[s.length] = e
	s.length++
}

func (l *alertsLog) add(alert uint8) {
	for i := range l.open {
		if alert != 0 && l.open[i] == 0 {
			l.open[i] = alert
			return
		}
	}
}

// publish shows an alert to read-committed readers. It must be the one that comes
// next when the work is evaluated in sequence.
func (m *detecting) publish(s *detectorState, alert uint8) {
	if alert == 0 {
		return
	}
	s.alerts.seen++
	v, want := m.sequential(s.alerts.seen)
	if v.count != s.alerts.seen || alert != want {
		s.broken = true
	}
}

// fate tells how the transaction of each entry below end has ended, for a leader
// with a log up to there: committed, aborted, or not yet (nothing).
func (s *detectorState) fate(end uint8) (fates [logRoom]entryKind) {
	open := nothing
	for i := int(end) - 1; i >= 0; i-- {
		switch s.log[i].kind {
		case committed, aborted:
			open = s.log[i].kind
			fates[i] = open
		case plain:
			fates[i] = committed
		default:
			fates[i] = open
		}
	}
	return fates
}

// stable is the last stable offset of a log that ends at end.
func stable(fates *[logRoom]entryKind, end uint8) uint8 {
	for i := range end {
		if fates[i] == nothing {
			return i
		}
	}
	return end
}

// fold is the state that the changelog stands for up to end, as if the cleaner had
// removed nothing: that of all transactions with a commit that is decided.
func (m *detecting) fold(s *detectorState, end uint8) values {
	fates := s.fate(s.length)
	decided := s.txn.state == prepareCommit && s.txn.markers&toChangelog != 0
	var v values
	for i := range end {
		if e := s.log[i]; fates[i] == committed || decided && fates[i] == nothing {
			e.gone = 0
			m.load(&v, &e)
		}
	}
	return v
}

// load applies one entry of a committed transaction.
func (m *detecting) load(v *values, e *entry) {
	if e.kind != data && e.kind != plain {
		return
	}
	left := e.writes &^ e.gone
	if left&writesPosition != 0 {
		v.work, v.source = e.values.work, e.values.source
	}
	if left&writesCount != 0 {
		if m.off.absolute {
			v.count++
		} else {
			v.count = e.values.count
		}
	}
	if left&writesKey != 0 {
		v.key = e.values.key
	}
}

// clean compacts the changelog: of each key the newest value stays; a tombstone
// stays until delete.retention.ms after the cleaner has first met it.
func (m *detecting) clean(s *detectorState) {
	fates := s.fate(s.length)
	var newer uint8 // keys that a later entry writes
	for i := int(stable(&fates, s.length)) - 1; i >= 0; i-- {
		e := &s.log[i]
		if e.kind != data {
			continue
		}
		if fates[i] == aborted {
			e.gone = writesAll
			continue
		}
		e.gone |= e.writes & newer
		newer |= e.writes
		if e.writes&^e.gone&writesKey == 0 || e.values.key != 0 {
			continue
		}
		switch {
		case e.horizon == 0:
			e.horizon = 1 + s.now + m.life
		case s.now+1 >= e.horizon:
			e.gone |= writesKey
		}
	}
}
