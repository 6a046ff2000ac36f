package model

import "fmt"

// wrong: an alert that is not the one to come next; alerts and state that do not
// belong together; a local copy that differs from the changelog; two owners that
// take the shard from each other for ever.
func (m *detecting) wrong(s *detectorState) string {
	switch {
	case s.broken:
		_, want := m.sequential(s.alerts.seen)
		return fmt.Sprintf("alert %d that readers see is not that of the sequential evaluation (%#x)", s.alerts.seen, want)
	case s.lost:
		return m.wrongAfterLoss(s)
	case s.takes > mostTakes:
		return "owners take the shard from each other, again and again, while nothing goes wrong"
	}
	for i := range s.owners {
		if s.owners[i].phase == halted {
			return fmt.Sprintf("owner %d stops, because it finds that work or state is gone, but nothing is", i)
		}
	}
	if m.public {
		return ""
	}
	return m.inconsistent(s)
}

// inconsistent: alerts, changelog and local copies that do not belong together.
// A reader may see the consequence only after more steps.
func (m *detecting) inconsistent(s *detectorState) string {
	truth := m.fold(s, s.length)
	if s.txn.markers == 0 && truth.count != s.alerts.seen {
		return fmt.Sprintf("the changelog holds the state after %d events, and readers have seen the alerts of %d", truth.count, s.alerts.seen)
	}
	for i := range s.owners {
		o := &s.owners[i]
		if s.current(o) && o.copy.values != truth {
			return fmt.Sprintf("owner %d evaluates with %+v, but the changelog says %+v", i, o.copy.values, truth)
		}
		// Compaction removes values that later entries replace, so that a former
		// owner's copy cannot be compared with the log up to its offset.
		if want := m.fold(s, o.copy.at); m.life == 0 && o.copy.topic == s.topic && o.copy.values != want {
			return fmt.Sprintf("the local copy of owner %d stands at offset %d of the changelog with %+v, but the changelog says %+v", i, o.copy.at, o.copy.values, want)
		}
	}
	return ""
}

// current tells whether an owner evaluates in the newest session.
func (s *detectorState) current(o *owner) bool {
	if o.epoch != s.txn.epoch || o.tx.entry.kind == claimed {
		return false
	}
	return o.phase == ready || o.phase == adding || o.phase == producing || o.phase == ending
}

// wrongAfterLoss: an owner goes on although the changelog was emptied.
func (m *detecting) wrongAfterLoss(s *detectorState) string {
	for i := range s.owners {
		if o := &s.owners[i]; s.current(o) {
			return fmt.Sprintf("owner %d goes on with %+v, but the changelog was emptied", i, o.copy.values)
		}
	}
	return ""
}

// missing: some work was not evaluated, although nothing goes wrong any more.
func (m *detecting) missing(s *detectorState) string {
	all, _ := m.sequential(uint8(len(m.work)))
	switch {
	case s.lost:
		return ""
	case s.alerts.seen != all.count:
		return fmt.Sprintf("readers have seen the alerts of %d events out of %d, and nothing goes on", s.alerts.seen, all.count)
	}
	return ""
}
