package consumer

import (
	"context"
	"maps"
	"slices"
	"sync"
)

// taskSet runs one task for each partition or shard that is assigned to this instance. A new
// task for a key waits for its predecessor to end, so that no two work on the same key.
type taskSet[K comparable] struct {
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

// assign makes the task set work on exactly the keys in want. It does not wait.
func (s *taskSet[K]) assign(want map[K]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tasks == nil {
		s.tasks, s.left = make(map[K]*task), make(map[K]*task)
	}
	for k, t := range s.tasks {
		if !want[k] {
			t.cancel()
			s.left[k] = t
			delete(s.tasks, k)
		}
	}
	for k := range want {
		if s.tasks[k] == nil && !s.ended {
			s.tasks[k] = s.start(k, s.left[k])
			delete(s.left, k)
		}
	}
}

func (s *taskSet[K]) start(k K, former *task) *task {
	ctx, cancel := context.WithCancel(s.ctx)
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
		if err := s.run(ctx, k); err != nil {
			s.fail(err)
		}
	}()
	return t
}

// wait returns when every task has ended; the task set's context must have ended before. It
// gives up, false, when ctx ends or stuck is closed. No task is started any more. The lock
// is not held meanwhile: a task may wait for a goroutine that calls keys.
func (s *taskSet[K]) wait(ctx context.Context, stuck <-chan struct{}) bool {
	s.mu.Lock()
	s.ended = true
	running := slices.AppendSeq(slices.Collect(maps.Values(s.tasks)), maps.Values(s.left))
	s.mu.Unlock()
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
func (s *taskSet[K]) keys() []K {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.tasks))
}
