package state_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"trailhound/state"
)

func TestEmpty(t *testing.T) {
	src := state.Source{TopicID: [16]byte{1}, Partition: 2, Offset: 3}
	for name, c := range map[string]struct {
		call func(tx *state.Tx)
		want bool
	}{
		"nothing":             {func(*state.Tx) {}, true},
		"work offset":         {func(tx *state.Tx) { tx.SetWorkOffset(8, 0) }, true},
		"older source":        {func(tx *state.Tx) { tx.Newer(src) }, true},
		"same source":         {func(tx *state.Tx) { tx.Advance(src) }, true},
		"same stream time":    {func(tx *state.Tx) { tx.Observe(state.Source{}, minute(5)); tx.Observe(state.Source{}, minute(1)) }, true},
		"same fingerprint":    {func(tx *state.Tx) { tx.SetFingerprint([]byte("f")) }, true},
		"same meta":           {func(tx *state.Tx) { tx.PutMeta("m", []byte("v")) }, true},
		"removed absent meta": {func(tx *state.Tx) { tx.PutMeta("other", nil) }, true},
		"known event":         {func(tx *state.Tx) { state.See(tx, "rule", "key", "id", minute(5), time.Hour) }, true},
		"event without id":    {func(tx *state.Tx) { state.See(tx, "rule", "key", "", minute(5), time.Hour) }, true},
		"read":                {func(tx *state.Tx) { s := tx.Scope("rule", "key", ref(6)); s.GetCounter("n"); s.Commit() }, true},
		"reset of nothing":    {func(tx *state.Tx) { s := tx.Scope("rule", "k", ref(6)); s.ResetCounter("n"); s.Commit() }, true},
		"counted and reset": {func(tx *state.Tx) {
			s := tx.Scope("rule", "k", ref(6))
			s.IncrementCounter("n")
			s.ResetCounter("n")
			s.Commit()
		}, true},
		"sweep":                {func(tx *state.Tx) { tx.Sweep(10) }, true},
		"newer source":         {func(tx *state.Tx) { src := src; src.Index++; tx.Advance(src) }, false},
		"newer stream time":    {func(tx *state.Tx) { tx.Observe(state.Source{}, minute(6)) }, false},
		"fingerprint":          {func(tx *state.Tx) { tx.SetFingerprint([]byte("g")) }, false},
		"meta":                 {func(tx *state.Tx) { tx.PutMeta("m", []byte("w")) }, false},
		"removed meta":         {func(tx *state.Tx) { tx.PutMeta("m", nil) }, false},
		"empty meta":           {func(tx *state.Tx) { tx.PutMeta("other", []byte{}) }, false},
		"event":                {func(tx *state.Tx) { state.See(tx, "rule", "key", "new", minute(5), time.Hour) }, false},
		"counter":              {func(tx *state.Tx) { s := tx.Scope("rule", "key", ref(6)); s.IncrementCounterBy("n", 0); s.Commit() }, false},
		"changes after Empty":  {func(tx *state.Tx) { tx.Empty(); tx.PutMeta("m", []byte("w")) }, false},
		"changes after others": {func(tx *state.Tx) { tx.SetWorkOffset(9, 0); tx.Changes(); tx.PutMeta("m", []byte("w")) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := openShard(t)
			tx := h.Begin()
			tx.SetWorkOffset(7, 0)
			tx.Advance(src)
			tx.Observe(state.Source{}, minute(5))
			tx.SetFingerprint([]byte("f"))
			tx.PutMeta("m", []byte("v"))
			state.See(tx, "rule", "key", "id", minute(5), time.Hour)
			s := tx.Scope("rule", "key", ref(5))
			s.IncrementCounter("n")
			s.Commit()
			apply(t, h, tx)
			tx = h.Begin()
			defer tx.Discard()
			c.call(tx)
			if got := tx.Empty(); got != c.want {
				t.Errorf("Empty() = %t; want %t, changes %q", got, c.want, slices.Collect(tx.Changes()))
			}
		})
	}
}

func TestChangesEndWithoutWhatCancelsOut(t *testing.T) {
	h := openShard(t)
	tx := h.Begin()
	s := tx.Scope("rule", "key", ref(0))
	s.PutStringSet("n", "a", "b")
	s.RemoveFromStringSet("n", "a")
	s.ResetStringSet("n")
	s.Commit()
	if got := apply(t, h, tx); len(got) != 0 {
		t.Errorf("Changes() = %q; want none", got)
	}
}

func TestBytesAndLenFollowTheChanges(t *testing.T) {
	h := openShard(t)
	for round := range 4 {
		tx := h.Begin()
		for i := range 200 {
			at := ref(round*1000 + i)
			tx.Observe(state.Source{}, at.Time)
			state.See(tx, "rule", "key", at.ID, at.Time, time.Hour)
			s := tx.Scope("rule", fmt.Sprint("key", i%20), at)
			s.IncrementCounter("n")
			s.AddToStringSet("n", fmt.Sprint(i), fmt.Sprint(round))
			if i%31 == 0 {
				s.ResetCounter("n")
			}
			s.Commit()
		}
		tx.Sweep(100)
		n, size := tx.Len(), tx.Bytes()
		count, bytes := 0, 0
		for c := range tx.Changes() {
			count++
			bytes += len(c.Key) + len(c.Value)
		}
		if n < count*9/10 || n > count*12/10 || size < bytes*8/10 || size > bytes*13/10 {
			t.Errorf("round %d: Len() = %d, Bytes() = %d; want about %d, %d", round, n, size, count, bytes)
		}
		if tx.Len() != count {
			t.Errorf("Len() after Changes = %d; want %d", tx.Len(), count)
		}
		apply(t, h, tx)
	}
}

func TestTxEnds(t *testing.T) {
	h := openShard(t)
	first := h.Begin()
	first.SetWorkOffset(5, 0)
	second := h.Begin()
	if got := second.WorkOffset(); got != -1 {
		t.Errorf("WorkOffset() = %d; want -1: Begin discards the open Tx", got)
	}
	first.Discard() // already ended: must not touch the second
	second.SetWorkOffset(6, 0)
	if err := second.Apply(1); err != nil {
		t.Fatalf("Apply() = %v; want nil", err)
	}
	second.Discard()
	for _, tx := range []*state.Tx{first, second} {
		if err := tx.Apply(2); err == nil {
			t.Errorf("Apply() of a Tx that has ended = nil; want an error")
		}
	}
	if got := h.Position(); got.Work != 6 || got.Changelog != 1 {
		t.Errorf("Position() = %+v; want Work 6, Changelog 1", got)
	}
}

func TestADamagedRecordSticksToTheTx(t *testing.T) {
	fs := vfs.NewMem()
	h := shardOf(t, openStore(t, state.Options{Dir: "state", FS: fs}), 0)
	in(t, h, 0, func(s *state.Scope) { s.IncrementCounter("n") })
	key := dump(t, h)[0].Key
	state.Damage(t, h, key)
	tx := h.Begin()
	s := tx.Scope("rule", "key", ref(1))
	if n := s.IncrementCounter("n"); n != 0 {
		t.Errorf("IncrementCounter() = %d; want 0", n)
	}
	if n, set := s.IncrementCounter("other"), s.GetStringSet("other"); n != 0 || set.Len() != 0 {
		t.Errorf("calls after an error = %d, %d; want 0, 0", n, set.Len())
	}
	s.Commit()
	err := tx.Err()
	if err == nil || !strings.Contains(err.Error(), "shard 0") {
		t.Fatalf("Err() = %v; want an error that names the shard", err)
	}
	if got := tx.Apply(9); got == nil {
		t.Errorf("Apply() = nil; want %v", err)
	}
	if got := h.Position().Changelog; got == 9 {
		t.Errorf("Position().Changelog = %d after a refused Apply", got)
	}
}

func TestSeen(t *testing.T) {
	h := openShard(t)
	tx := h.Begin()
	defer tx.Discard()
	see := func(rule, key, id string, at int, want bool) {
		t.Helper()
		if got := state.See(tx, rule, key, id, minute(at), time.Hour); got != want {
			t.Errorf("Seen(%q, %q, %q, %d) = %t; want %t", rule, key, id, at, got, want)
		}
	}
	tx.Observe(state.Source{}, minute(0))
	see("r", "k", "id", 0, false)
	see("r", "k", "id", 0, true)
	see("r", "k2", "id", 0, false)
	see("r2", "k", "id", 0, false)
	see("r", "k\x00i", "d", 0, false)
	see("r", "k", "\x00id", 0, false)
	see("r", "k", "", 0, false)
	see("r", "k", "", 0, false)
	tx.Observe(state.Source{}, minute(60))
	see("r", "k", "id", 0, true)
	tx.Observe(state.Source{}, minute(60).Add(1))
	see("r", "k", "id", 0, false) // forgotten; remembered anew for an hour from minute 60, late as it is
	see("r", "k", "id", 0, true)
	tx.Observe(state.Source{}, minute(120))
	see("r", "k", "id", 0, true)
}

func TestSuppress(t *testing.T) {
	h := openShard(t)
	for i, c := range []struct {
		at         int
		dedup      string
		span       time.Duration
		held       int64
		suppressed bool
	}{
		{0, "d", time.Hour, 0, false},
		{1, "d", time.Hour, 1, true},
		{1, "e", time.Hour, 0, false},
		{-500, "d", time.Hour, 1, false}, // late: no alert is near
		{59, "d", time.Hour, 1, true},
		{60, "d", time.Hour, 1, false}, // the next alert tells
		{119, "d", 0, 0, false},        // off
		{120, "d", time.Hour, 0, false},
		{121, "d", time.Hour, 1, true},
		{180 + day(90) - 1, "d", time.Hour, 1, false},
		{180 + day(90), "d", time.Hour, 1, true},
		{300 + day(180), "d", time.Hour, 0, false}, // longer than a lifetime after the span
		{300, strings.Repeat("d", 1<<16), time.Hour, 0, false},
		{301, strings.Repeat("d", 1<<16), time.Hour, 1, true},
	} {
		in(t, h, c.at, func(s *state.Scope) {
			if held, suppressed := s.Suppress(c.dedup, c.span); held != c.held || suppressed != c.suppressed {
				t.Errorf("%d: Suppress(%.9q) at %d = %d, %t; want %d, %t", i, c.dedup, c.at, held, suppressed, c.held, c.suppressed)
			}
		})
	}
}
