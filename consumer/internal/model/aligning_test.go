package model

import "testing"

// A dense partition and a sparse one on one instance, and one that begins later on
// the other.
var skewed = aligning{
	times: [aligned][]uint8{{1, 2, 3}, {1, 4}, {3, 5}},
	home:  [aligned]uint8{0, 0, 1},
}

// The slow ones are those of the other instance.
var apart = aligning{
	times: [aligned][]uint8{{1, 4, 6}, {1, 2}, {2, 3}},
	home:  [aligned]uint8{0, 1, 1},
}

// Two that wait for the third, one of them far ahead of the other.
var waiting = aligning{
	times: [aligned][]uint8{{1, 5}, {1, 3, 4}, {1, 5, 6}},
	home:  [aligned]uint8{0, 1, 0},
}

func (m aligning) with(f alignFaults) *aligning {
	m.faults = f
	return &m
}

func (m aligning) without(f alignFaults, off alignRules) *aligning {
	m.faults, m.off = f, off
	return &m
}

// No readable partition waits for ever, no matter which others cannot be read. No record
// is handed on more than max_drift ahead of another partition, unless that one was left
// out, however old its position is as others know it.
func TestAligning(t *testing.T) {
	t.Parallel()
	type f = alignFaults
	for _, tt := range []struct {
		name  string
		m     *aligning
		least int // states; fewer would prove less than it seems
	}{
		{"a skewed backlog", skewed.with(f{}), 1_300},
		{"one partition is stuck", skewed.with(f{stalls: 1}), 9_400},
		{"one is stuck for some time", skewed.with(f{stalls: 1, recoveries: 1}), 22_000},
		{"a crash", skewed.with(f{crashes: 1}), 6_500},
		{"two instances", apart.with(f{}), 1_700},
		{"two instances, one partition is stuck for some time", apart.with(f{stalls: 1, recoveries: 1}), 25_600},
		{"two instances, two partitions are stuck", apart.with(f{stalls: 2}), 22_700},
		{"two instances, a crash", apart.with(f{crashes: 1}), 7_700},
		{"two instances, a crash and a stuck partition", apart.with(f{crashes: 1, stalls: 1}), 50_000},
		{"two wait for a third, which is stuck for some time", waiting.with(f{stalls: 1, recoveries: 1}), 51_000},
	} {
		t.Run(tt.name, func(t *testing.T) { holds(t, tt.m, tt.least) })
	}
}

// Each rule of alignment is needed.
func TestAligningRules(t *testing.T) {
	t.Parallel()
	type f = alignFaults
	type off = alignRules
	for _, tt := range []struct {
		name string
		m    *aligning
	}{
		{"one that is ahead waits", apart.without(f{}, off{waits: true})},
		{"one that cannot be read is left out", apart.without(f{stalls: 1}, off{leaveOut: true})},
		{"one that waits is not", waiting.without(f{}, off{waiting: true})},
		{"until it moves again", apart.without(f{stalls: 1, recoveries: 1}, off{takeBack: true})},
		{"one at its end does not count", apart.without(f{}, off{skipEnded: true})},
		{"one that has published nothing counts as the slowest", apart.without(f{}, off{countNew: true})},
		{"publish what is acknowledged", apart.without(f{crashes: 1}, off{acknowledged: true})},
		{"a router takes its own time as it is", apart.without(f{}, off{ownTime: true})},
	} {
		t.Run(tt.name, func(t *testing.T) { breaks(t, tt.m) })
	}
}
