package consumer

import (
	"context"
	"maps"
	"slices"
	"sync"
)

// crew runs one task for each partition or shard that is assigned to this instance. A new
// task for a key waits for its predecessor to end, so that no two work on the same key.
type crew[K comparable] struct {
	ctx  context.Context // ends every task
	fail func(error)     // called with a task's error
	run  func(context.Context, K) error

	mu    sync.Mutex
	ended bool
	tasks map[K]*task
	left  map[K]*task // cancelled, perhaps still running
}

type task struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// assign makes the crew work on exactly the keys in want. It does not wait.
func (c *crew[K]) assign(want map[K]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tasks == nil {
		c.tasks, c.left = make(map[K]*task), make(map[K]*task)
	}
	for k, t := range c.tasks {
		if !want[k] {
			t.cancel()
			c.left[k] = t
			delete(c.tasks, k)
		}
	}
	for k := range want {
		if c.tasks[k] == nil && !c.ended {
			c.tasks[k] = c.start(k, c.left[k])
			delete(c.left, k)
		}
	}
}

func (c *crew[K]) start(k K, former *task) *task {
	ctx, cancel := context.WithCancel(c.ctx)
	t := &task{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(t.done)
		defer cancel()
		if former != nil {
			<-former.done
		}
		if ctx.Err() != nil {
			return
		}
		if err := c.run(ctx, k); err != nil {
			c.fail(err)
		}
	}()
	return t
}

// wait returns when every task has ended; the crew's context must have ended before. It
// gives up, false, when ctx ends or stuck is closed. No task is started any more. The lock
// is not held meanwhile: a task may wait for a goroutine that calls keys.
func (c *crew[K]) wait(ctx context.Context, stuck <-chan struct{}) bool {
	c.mu.Lock()
	c.ended = true
	running := slices.AppendSeq(slices.Collect(maps.Values(c.tasks)), maps.Values(c.left))
	c.mu.Unlock()
	for _, t := range running {
		select {
		case <-t.done:
			continue
		default:
		}
		select {
		case <-t.done:
		case <-ctx.Done():
			return false
		case <-stuck:
			return false
		}
	}
	return true
}

// keys returns the keys of the running tasks, in no order.
func (c *crew[K]) keys() []K {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Keys(c.tasks))
}
