package changelog

import (
	"context"
	"errors"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/kafka/wire"
)

// take takes buffers until there are no more.
func takeAllBuffers(t *testing.T, r *Restores) (all []*wire.Fetched) {
	t.Helper()
	for {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		f, err := r.buffer(ctx, 1)
		cancel()
		if err != nil {
			return all
		}
		if all = append(all, f); len(all) > maxRounds {
			t.Fatalf("buffer() gave %d; want at most %d, or 64 shards at once take all memory", len(all), maxRounds)
		}
	}
}

// The buffers are few, and the waiting restore with the least left to read is next:
// shards with a local copy do not wait for those without.
func TestRestoresLetTheShortestGoFirst(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T) {
		var r Restores
		all := takeAllBuffers(t, &r)
		var mu sync.Mutex
		var order []int64
		var waiting sync.WaitGroup
		for _, left := range []int64{500, 7, math.MaxInt64, 90} {
			waiting.Go(func() {
				f, err := r.buffer(t.Context(), left)
				if err != nil {
					t.Errorf("buffer() = %v; want nil", err)
					return
				}
				mu.Lock()
				order = append(order, left)
				mu.Unlock()
				r.give(f)
			})
		}
		gone, leave := context.WithCancel(t.Context())
		waiting.Go(func() {
			if _, err := r.buffer(gone, 1); !errors.Is(err, context.Canceled) {
				t.Errorf("buffer() of somebody who left = %v; want %v", err, context.Canceled)
			}
		})
		synctest.Wait()
		leave()
		synctest.Wait()
		if !r.busy() {
			t.Error("busy() = false while four wait; want true")
		}
		r.give(all[0])
		waiting.Wait()
		if len(order) != 4 || order[0] != 7 || order[1] != 90 || order[2] != 500 || order[3] != math.MaxInt64 {
			t.Errorf("buffers went to %v; want those with the least left first", order)
		}
		if r.busy() {
			t.Error("busy() = true at the end; want false")
		}
	})
}

// Restores report the offsets left in all, the rate and the time left, every few seconds
// and no more often; a short restore is not reported.
func TestRestoresReport(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T) {
		var got []Restoration
		r := Restores{Report: func(s Restoration) { got = append(got, s) }}
		r.advance(3, 1000, 0)
		r.end(3)
		if len(got) > 0 {
			t.Errorf("a restore that took no time was reported: %+v; want nothing", got)
		}
		r.advance(0, 1000, 0)
		r.advance(1, 3000, 0)
		for i := range int64(10) {
			<-time.After(time.Second)
			r.advance(0, 900-100*i, 100)
		}
		r.end(0)
		r.end(1)
		want := []Restoration{
			{Shards: 2, Left: 3500, Read: 500, Took: 5 * time.Second},
			{Shards: 2, Left: 3000, Read: 1000, Took: 10 * time.Second},
			{Read: 1000, Took: 10 * time.Second},
		}
		if len(got) != len(want) {
			t.Fatalf("reports: %+v; want %+v", got, want)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("report %d: %+v; want %+v", i, got[i], want[i])
			}
		}
		if d, ok := got[1].Remaining(); !ok || d != 30*time.Second || got[1].Rate() != 100 {
			t.Errorf("Remaining() = %v, %t at a rate of %v; want 30s at 100", d, ok, got[1].Rate())
		}
		if _, ok := (Restoration{Left: 5}).Remaining(); ok {
			t.Error("Remaining() without a rate = true; want false")
		}
		if len(r.free) > 0 || r.made > 0 {
			t.Errorf("%d buffers are kept after the last restore; want none", r.made)
		}
	})
}
