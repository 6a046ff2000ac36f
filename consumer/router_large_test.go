package consumer

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"trailhound/consumer/kafka/wire"
	"trailhound/rules"
	"trailhound/rules/cloudtrail"
)

// A router that waited for the turn with a large record did not end with its context: the
// holder of the turn may wait for a broker that does not answer, and a revoked partition,
// or the end of the process, waited for that. The record is not routed then, nor is it a
// dead letter.
func TestRouterEndsWhileItWaitsForTheTurn(t *testing.T) {
	memory := wire.NewMemory(64<<20, 0)
	holder := wire.Turn{Memory: memory}
	if !holder.Lock() {
		t.Fatal("the turn is refused")
	}
	ctx, cancel := context.WithCancel(t.Context())
	events := 0
	r := &router{ctx: ctx, progress: newAckTracker(0), yield: func(_ *rules.Event, err error) bool {
		if err != nil {
			t.Errorf("the record yields %v", err)
		}
		events++
		return true
	}}
	r.turn.Memory, r.turn.Context = memory, ctx
	r.turn.Waiting = func(others *atomic.Uint64) {
		if others != nil {
			cancel()
		}
	}
	r.decoder.Turn = (*decoderTurn)(r)
	large := &wire.Record{Value: []byte(strconv.Quote(strings.Repeat(" ", 2*cloudtrail.DefaultScratch) + `{"eventVersion":"1","eventTime":"2026-03-01T10:00:00Z"}`))}
	if r.record(large) || !errors.Is(r.err, context.Canceled) || events > 0 || len(r.at.bad) > 0 {
		t.Errorf("a large record without the turn: %v, %d events, %d dead letters; want the end of the context alone", r.err, events, len(r.at.bad))
	}
	holder.Unlock()
	r.ctx, r.turn.Context, r.err = t.Context(), t.Context(), nil
	if !r.record(large) || events != 1 || r.turn.Held() {
		t.Errorf("a large record with the turn: %v, %d events, the turn held behind it: %t", r.err, events, r.turn.Held())
	}
}
