package consumer

import (
	"context"
	"runtime"
	"testing"
	"time"
)

// keys and assign do not block while a task set waits for its last tasks: a task may need a
// lock that their caller holds.
func TestTaskSetWaitLocksNobodyOut(t *testing.T) {
	working, stop := context.WithCancel(t.Context())
	defer stop()
	asked, began := make(chan struct{}), make(chan struct{})
	c := taskSet[int]{ctx: working, fail: func(err error) { t.Error(err) }, run: func(context.Context, int) error {
		close(began)
		<-asked // by a goroutine that must not be locked out
		return nil
	}}
	c.assign(map[int]bool{1: true})
	<-began
	stop()
	waited := make(chan struct{})
	go func() {
		defer close(waited)
		c.wait(t.Context(), nil)
	}()
	go func() {
		for ended := false; !ended; { // only then is wait under way
			c.mu.Lock()
			ended = c.ended
			c.mu.Unlock()
			runtime.Gosched()
		}
		c.keys()
		c.assign(nil)
		close(asked)
	}()
	select {
	case <-waited:
	case <-time.After(30 * time.Second):
		t.Fatal("keys(), assign() and wait() block each other; want wait to hold no lock")
	}
}

// A task set that has been waited for starts no task any more: the store and the connections of
// its tasks are being closed.
func TestTaskSetStartsNothingAfterWait(t *testing.T) {
	c := taskSet[int]{ctx: t.Context(), fail: func(err error) { t.Error(err) }, run: func(context.Context, int) error {
		t.Error("a task ran after wait; want none")
		return nil
	}}
	c.wait(t.Context(), nil)
	c.assign(map[int]bool{1: true, 2: true})
	if keys := c.keys(); len(keys) != 0 {
		t.Errorf("keys() = %v after wait; want none", keys)
	}
}

// A task for a key that went and came back begins when its predecessor has ended, not
// before; one replaced meanwhile does not run at all.
func TestTaskSetOneTaskAtATime(t *testing.T) {
	working, stop := context.WithCancel(t.Context())
	defer stop()
	began, end := make(chan int, 10), make(chan struct{})
	running, runs := make(chan struct{}, 1), 0
	c := taskSet[int]{ctx: working, fail: func(err error) { t.Error(err) }, run: func(context.Context, int) error {
		select {
		case running <- struct{}{}:
		default:
			t.Error("two tasks work on the same thing; want one")
		}
		runs++
		began <- runs
		<-end
		<-running
		return nil
	}}
	one, none := map[int]bool{7: true}, map[int]bool{}
	c.assign(one)
	<-began
	for range 5 {
		c.assign(none)
		c.assign(one)
	}
	end <- struct{}{}
	if n := <-began; n != 2 {
		t.Errorf("run %d followed the first; want the second: the ones between were let go before their turn", n)
	}
	stop()
	end <- struct{}{}
	c.wait(t.Context(), nil)
}
