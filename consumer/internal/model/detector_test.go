package model

import "testing"

// The work of a shard, by sources. The second record of the first list is a repeat.
var (
	threeWorks = detecting{work: []uint8{1, 1, 2}, batch: 1}
	batches    = detecting{work: []uint8{1, 2, 2, 3}, batch: 2}
	twoWorks   = detecting{work: []uint8{1, 2}, batch: 1}
	oneWork    = detecting{work: []uint8{1}, batch: 1}
	trimming   = detecting{work: []uint8{1, 1, 2}, batch: 1, trims: true}
	compacting = detecting{work: []uint8{1, 2, 3}, batch: 1, life: 2, slow: true}
	compacted  = detecting{work: []uint8{1, 2}, batch: 1, life: 2, slow: true}
	counting   = detecting{work: []uint8{1, 2}, batch: 1, count: true}
)

func (m detecting) with(f detectorFaults) *detecting {
	m.faults = f
	return &m
}

func (m detecting) without(f detectorFaults, off detectorRules) *detecting {
	m.faults, m.off, m.public = f, off, true
	return &m
}

// inside judges by the local copies and the changelog, too: from outside, a breach would
// be seen only after more steps than there is time for, or, with a position alone in
// Pebble, never.
func (m *detecting) inside() *detecting {
	m.public = false
	return m
}

// Readers see the alerts of the sequential evaluation, each once; the changelog
// and the owner's copy hold the state that belongs to them; and after any faults
// all work is evaluated in the end (PROTOCOL D1–D5, D8–D10).
func TestDetector(t *testing.T) {
	t.Parallel()
	type f = detectorFaults
	for _, tt := range []struct {
		name  string
		m     *detecting
		least int // states; fewer would prove less than it seems
	}{
		{"nothing goes wrong", batches.with(f{}), 94},
		{"crashes", threeWorks.with(f{crashes: 2}), 27_000},
		{"lost and late requests", threeWorks.with(f{losses: 2}), 22_000},
		{"a crash and a late request", threeWorks.with(f{crashes: 1, losses: 1}), 31_000},
		{"two owners", batches.with(f{rebalances: 1}), 169_000},
		{"two owners, a late request", oneWork.with(f{rebalances: 1, losses: 1}), 360_000},
		{"two owners, a crash", oneWork.with(f{rebalances: 1, crashes: 1}), 446_000},
		{"two owners, an old leader", oneWork.with(f{rebalances: 1, leaders: 1}), 65_000},
		{"two owners, a time-out", oneWork.with(f{rebalances: 1, timeouts: 1}), 83_000},
		{"two owners that collide", counting.with(f{rebalances: 1, collisions: 1}), 113_000},
		{"work is deleted", trimming.with(f{rebalances: 1}), 61_000},
		{"work is deleted, a crash", trimming.with(f{crashes: 2}), 56_000},
		{"the changelog is made again", threeWorks.with(f{crashes: 2, remakes: 1}), 77_000},
		{"compaction, a crash", compacting.with(f{crashes: 1, ticks: 3, cleans: 2}), 131_000},
	} {
		t.Run(tt.name, func(t *testing.T) { holds(t, tt.m, tt.least) })
	}
}

// The same, with more that goes wrong.
func TestDetectorDeep(t *testing.T) {
	type f = detectorFaults
	for _, tt := range []struct {
		name string
		m    *detecting
	}{
		{"two owners, late requests", twoWorks.with(f{rebalances: 1, losses: 1})},
		{"two owners, a crash", twoWorks.with(f{rebalances: 1, crashes: 1})},
		{"two owners, a crash, a late request", oneWork.with(f{rebalances: 1, crashes: 1, losses: 1})},
		{"an old leader, a late request", oneWork.with(f{rebalances: 1, leaders: 1, losses: 1})},
		{"the shard goes to and fro", twoWorks.with(f{rebalances: 2})},
		{"compaction, two owners", compacted.with(f{rebalances: 1, ticks: 3, cleans: 2})},
	} {
		t.Run(tt.name, func(t *testing.T) { holdsDeep(t, tt.m, 400_000) })
	}
}

// Each rule of the detector is needed: without it readers see wrong alerts, or an
// owner stops for no reason, or work is not evaluated.
func TestDetectorRules(t *testing.T) {
	t.Parallel()
	type f = detectorFaults
	type off = detectorRules
	zombie := f{rebalances: 1}
	stale := f{rebalances: 1, leaders: 1}
	days := f{crashes: 2, ticks: 2, cleans: 2}
	for _, tt := range []struct {
		name string
		m    *detecting
	}{
		{"D1: InitProducerID fences the former owner", twoWorks.without(zombie, off{fence: true})},
		{"D1: claim the shard", twoWorks.without(stale, off{claim: true})},
		{"D1: a high watermark does not end a restore", twoWorks.without(stale, off{ignoreWatermark: true})},
		{"D1: an empty fetch does not end a restore", twoWorks.without(stale, off{ignoreEmptyFetch: true})},
		{"D1: the next offset ends a restore, not a record", twoWorks.without(zombie, off{nextOffset: true})},
		{"D1: go on at the work offset in the state", twoWorks.without(f{losses: 1}, off{workOffset: true})},
		{"D1: look up the work log before the claim", trimming.without(zombie, off{lookFirst: true})},
		{"D2: drop repeats", threeWorks.without(f{}, off{dropRepeats: true})},
		{"D3: state within the transaction", twoWorks.without(f{crashes: 1}, off{stateInside: true})},
		{"D3: alerts within the transaction", twoWorks.without(f{losses: 1}, off{alertsInside: true})},
		{"D3: apply after the commit", twoWorks.without(f{losses: 1}, off{applyAfter: true})},
		{"D3: absolute values", compacting.without(f{crashes: 1, cleans: 1}, off{absolute: true})},
		{"D4: EndTxn once", twoWorks.without(f{losses: 1}, off{endOnce: true})},
		{"D4: commit only what every partition has taken", twoWorks.without(f{losses: 1}, off{allAnswered: true})},
		{"D5: ask the group before taking the shard back", counting.without(f{}, off{confirm: true})},
		{"D8: no position alone in Pebble", threeWorks.without(f{}, off{positionInLog: true}).inside()},
		{"D9: an old copy is wiped", compacted.without(days, off{copyAge: true}).inside()},
		{"D9: a restore has a limit of time", compacted.without(days, off{restoreTime: true}).inside()},
		{"D9: so has one that was interrupted", compacted.without(days, off{restoreMark: true}).inside()},
		{"D10: a copy ahead of the changelog is wiped", twoWorks.without(f{remakes: 1}, off{positionInside: true, stateTopicID: true})},
		{"D10: so is one of another changelog", twoWorks.without(f{remakes: 1, rebalances: 1}, off{stateTopicID: true})},
		{"delete work below the committed offset only", trimming.without(f{losses: 1}, off{trimCommitted: true})},
	} {
		t.Run(tt.name, func(t *testing.T) { breaks(t, tt.m) })
	}
}

// The argument does not need that AddPartitions is sent once: it may be sent again. (It
// is not, for one rule is simpler than two.)
func TestDetectorMayAddAgain(t *testing.T) {
	t.Parallel()
	holds(t, twoWorks.without(detectorFaults{losses: 2}, detectorRules{addOnce: true}).inside(), 19_000)
}

// The assumptions of the argument about time: without each of them, a run goes wrong.
func TestDetectorAssumptions(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		m    *detecting
	}{
		{"nobody is a zombie for half of delete.retention.ms", compacted.without(
			detectorFaults{rebalances: 1, ticks: 2, cleans: 2}, detectorRules{zombiesEnd: true}).inside()},
		{"an InitProducerID that waits does not meet one transaction after another", counting.without(
			detectorFaults{rebalances: 1}, detectorRules{collideSeldom: true})},
	} {
		t.Run(tt.name, func(t *testing.T) { breaks(t, tt.m) })
	}
}
