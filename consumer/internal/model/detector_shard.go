package model

// begin decides whether the local copy can be continued, and marks it as
// incomplete until the restore has reached the claim (Changelog.stale, restore).
func (m *detecting) begin(s *detectorState, o *owner, claim uint8) {
	o.claim = claim
	o.keepDisk(s)
	if m.stale(s, &o.copy, claim) {
		o.copy = localCopy{}
	}
	switch {
	case m.off.restoreMark || m.off.copyAge && o.copy.since == 0:
		o.copy.since = 1 + s.now
	case o.copy.since != 0: // an interrupted restore is timed from where it began
	case o.copy.at > 0:
		o.copy.since = 1 + o.copy.caughtUp
	default:
		o.copy.since = 1 + s.now
	}
	o.copy.topic = s.topic
}

func (m *detecting) stale(s *detectorState, c *localCopy, claim uint8) bool {
	if c.at == 0 {
		return false
	}
	restoring := c.since != 0 && !m.off.restoreMark
	return restoring && m.expired(s, c.since-1) ||
		c.at > claim && !m.off.positionInside ||
		c.topic != s.topic && !m.off.stateTopicID ||
		c.since == 0 && !m.off.copyAge && m.expired(s, c.caughtUp)
}

// expired: tombstones written since then may be gone. One tick is half of their
// life (D9).
func (m *detecting) expired(s *detectorState, since uint8) bool { return m.life > 0 && s.now > since }

// restore loads the committed entries of a leader, and ends when the next offset to
// fetch lies behind the claim (D1). The leader may be an old one, which knows less.
func (m *detecting) restore(s *detectorState, i uint8, yield yieldDetector) {
	o := &s.owners[i]
	if m.expired(s, o.copy.since-1) && !m.off.restoreTime {
		t := *s
		t.owners[i].copy = localCopy{}
		m.lose(&t, i)
		t.takes = 0
		yield(say("owner %d: the restore takes too long for the tombstones; it starts again from nothing", i), t)
		return
	}
	m.fetch(*s, i, s.length, "", yield)
	if s.oldLeader > 0 {
		m.fetch(*s, i, s.oldLeader-1, " (from the old leader)", yield)
	}
}

// fetch asks a leader with a log up to end for committed entries.
func (m *detecting) fetch(s detectorState, i, end uint8, whom string, yield yieldDetector) {
	o := &s.owners[i]
	fates := s.fate(end)
	limit, from := stable(&fates, end), o.copy.at
	for o.copy.at < limit {
		at := o.copy.at
		if o.copy.at == from {
			o.keepDisk(&s)
		}
		o.copy.at++
		e := &s.log[at]
		if fates[at] == committed {
			m.load(&o.copy.values, e)
		}
		if m.slow && e.writes&^e.gone != 0 {
			break
		}
	}
	next := o.copy.at
	done := next > o.claim && !m.off.nextOffset
	told := m.off.ignoreWatermark && next >= end || m.off.ignoreEmptyFetch && next == from ||
		m.off.claim && next == limit || m.off.nextOffset && (o.claim == 0 || m.seen(&s, &fates, o.claim-1, next))
	switch {
	case done:
		m.restored(&s, i)
		yield(say("owner %d fetches up to offset %d of the changelog"+whom+", which is behind its claim: the shard is restored", i, next), s)
	case told:
		m.restored(&s, i)
		yield(say("owner %d fetches up to offset %d of the changelog"+whom+", and takes that for the end", i, next), s)
	case next > from:
		yield(say("owner %d fetches up to offset %d of the changelog"+whom, i, next), s)
	}
}

// seen tells whether offset at held a record for the reader: no marker, nothing
// aborted, nothing compacted away.
func (m *detecting) seen(s *detectorState, fates *[logRoom]entryKind, at, next uint8) bool {
	e := &s.log[at]
	return at < next && (e.kind == data && e.gone != e.writes || e.kind == claimed) && fates[at] == committed
}

// restored begins to evaluate, or stops when something is gone for good
// (detector.own, detector.workOffset).
func (m *detecting) restored(s *detectorState, i uint8) {
	o := &s.owners[i]
	o.copy.since, o.copy.caughtUp, o.claim = 0, s.now, 0
	o.phase = ready
	if !m.off.workOffset {
		o.next = o.copy.values.work
	}
	found := o.found
	if m.off.lookFirst {
		found = s.workLog()
	}
	if o.next < found.start || found.worked && o.copy.values == (values{}) {
		o.phase = halted
	}
	o.found = workLog{}
}

// workLog looks up the start of the work log, and whether any of it was evaluated. Work
// deleted or evaluated before an owner claims the shard is in the state that it restores;
// work that later owners delete or evaluate may not be.
func (s *detectorState) workLog() workLog { return workLog{s.workStart, s.alerts.seen > 0} }

// evaluate plays the next work records and begins to commit their alerts and state, or,
// when all are repeats, moves the position in memory (D8).
func (m *detecting) evaluate(s *detectorState, i uint8, yield yieldDetector) {
	o := &s.owners[i]
	v := o.copy.values
	var alerts [batchRoom]uint8
	n := 0
	for k := o.next; k < uint8(len(m.work)) && k-o.next < m.batch; k++ {
		v.work = k + 1
		if source := m.work[k]; source > v.source || m.off.dropRepeats {
			v, alerts[n] = evaluate(v, source)
			n++
		}
		t := *s
		u := &t.owners[i]
		u.next = k + 1
		if n == 0 {
			if m.off.positionInLog {
				u.copy.values.work = k + 1
			}
			yield(say("owner %d drops a repeat at work offset %d and moves its position in memory", i, k), t)
			continue
		}
		m.flush(&t, u, v, alerts)
		yield(say("owner %d evaluates work offsets %d to %d and begins to commit", i, o.next, k), t)
	}
}

// flush begins the transaction that holds everything (D3).
func (m *detecting) flush(s *detectorState, o *owner, v values, alerts [batchRoom]uint8) {
	writes := uint8(writesPosition | writesCount)
	if v.key != o.copy.values.key {
		writes |= writesKey
	}
	o.phase = adding
	o.tx = transaction{entry: entry{kind: data, values: v, writes: writes}, alerts: alerts, parts: toChangelog | toAlerts}
	if m.off.stateInside {
		o.tx.parts = toAlerts
	}
	if m.off.alertsInside {
		o.tx.parts, o.tx.alerts = toChangelog, [batchRoom]uint8{}
		for _, a := range alerts {
			m.publish(s, a)
		}
	}
	if m.off.applyAfter {
		o.copy.values = v
	}
}

// trim deletes work records below the committed work offset (detector.upkeep).
func (m *detecting) trim(s detectorState, i uint8, yield yieldDetector) {
	o := &s.owners[i]
	upTo := o.copy.values.work
	if m.off.trimCommitted {
		upTo = max(upTo, o.next)
	}
	if !m.trims || o.phase == idle || o.phase == restoring || upTo <= s.workStart {
		return
	}
	s.workStart = upTo
	yield(say("owner %d deletes work records below offset %d", i, upTo), s)
}
