package play

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"trailhound/rules"
	"trailhound/state"
)

// denials is a batch with n alerts for a threshold of 2, from event number first on.
func denials(first, n int) *Batch {
	b := &Batch{}
	for i := range 2 * n {
		b.Records = append(b.Records, Record{At: state.Source{Topic: "t", Offset: int64(first + i)}, Value: []byte(event(first+i, "GetObject", "AccessDenied", "alice"))})
	}
	return b
}

func newPlayer(t *testing.T, o Options) *Player {
	t.Helper()
	o.Engine, o.Shards = engine(t), shards
	if o.Rejected == nil {
		o.Rejected = func(at state.Source, index int, reason rules.Reason, _ string) {
			t.Errorf("record %d event %d was rejected: %s", at.Offset, index, reason)
		}
	}
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	return p
}

func forever(_ context.Context, add func(*Batch) error) error {
	for n := 0; ; n += 20 {
		if err := add(denials(n, 10)); err != nil {
			return fmt.Errorf("add: %w", err)
		}
	}
}

// An error of a callback ends the run, which returns it; the producer hears of it.
func TestRunCallbackError(t *testing.T) {
	enough := errors.New("enough")
	alerts := 0
	p := newPlayer(t, Options{Alert: func(*rules.Event, *rules.Alert) error {
		if alerts++; alerts == 25 {
			return enough
		}
		return nil
	}})
	if err := p.Run(t.Context(), forever); err != enough {
		t.Errorf("Run() = %v; want the callback's error", err)
	}
	if alerts != 25 {
		t.Errorf("%d alerts; want none after the error", alerts)
	}
}

func TestRunInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p := newPlayer(t, Options{Alert: func(*rules.Event, *rules.Alert) error { cancel(); return nil }})
	if err := p.Run(ctx, forever); !errors.Is(err, context.Canceled) {
		t.Errorf("Run() = %v; want context.Canceled", err)
	}
}

// Batches that were added before the producer failed are evaluated.
func TestRunProducerError(t *testing.T) {
	broken := errors.New("broken")
	alerts := 0
	p := newPlayer(t, Options{Alert: func(*rules.Event, *rules.Alert) error { alerts++; return nil }})
	err := p.Run(t.Context(), func(_ context.Context, add func(*Batch) error) error {
		return errors.Join(add(denials(0, 3)), add(&Batch{}), add(denials(6, 4)), broken)
	})
	if !errors.Is(err, broken) || alerts != 7 {
		t.Errorf("Run() = %v after %d alerts; want %v after 7", err, alerts, broken)
	}
}

// The state stays from run to run, so that one can lead up to another.
func TestRunAgain(t *testing.T) {
	alerts := 0
	p := newPlayer(t, Options{Alert: func(*rules.Event, *rules.Alert) error { alerts++; return nil }})
	for n := range 4 {
		err := p.Run(t.Context(), func(_ context.Context, add func(*Batch) error) error {
			b := denials(2*n, 1)
			b.Records = b.Records[:1]
			return add(b)
		})
		if err != nil || alerts != (n+1)/2 {
			t.Fatalf("Run() = %v after %d denials with %d alerts; want one for every second", err, n+1, alerts)
		}
	}
	if got := p.Counts(); got.Records != 4 || got.Events != 4 || got.Matches != 4 {
		t.Errorf("Counts() = %+v; want 4 of each", got)
	}
}

// Idle is called when all batches so far are evaluated.
func TestRunIdle(t *testing.T) {
	alerts, idle := 0, make(chan int, 100)
	p := newPlayer(t, Options{
		Alert: func(*rules.Event, *rules.Alert) error { alerts++; return nil },
		Idle:  func() error { idle <- alerts; return nil },
	})
	err := p.Run(t.Context(), func(_ context.Context, add func(*Batch) error) error {
		for n := range 5 {
			if err := add(denials(2*n, 1)); err != nil {
				return err
			}
			for got := range idle {
				if got == n+1 {
					break
				}
			}
		}
		return nil
	})
	if err != nil || alerts != 5 {
		t.Errorf("Run() = %v with %d alerts; want 5", err, alerts)
	}
}

// No more is ahead than was allowed, but for a batch that is larger alone.
func TestRunBoundsAhead(t *testing.T) {
	const most = 30_000
	var ahead, peak atomic.Int64
	p := newPlayer(t, Options{MaxAhead: most, Alert: func(*rules.Event, *rules.Alert) error { return nil }})
	err := p.Run(t.Context(), func(_ context.Context, add func(*Batch) error) error {
		for n := range 200 {
			b := denials(100*n, 1+n%50)
			size := b.bytes()
			b.Done = func() { ahead.Add(-size) }
			if err := add(b); err != nil {
				return err
			}
			if now := ahead.Add(size); size < most { // Done may come first: the count is never too high
				peak.Store(max(peak.Load(), now))
			}
		}
		return nil
	})
	if err != nil || peak.Load() > most || peak.Load() < most/3 {
		t.Errorf("Run() = %v with up to %d bytes ahead; want at most %d, and not much less", err, peak.Load(), most)
	}
}
