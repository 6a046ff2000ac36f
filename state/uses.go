package state

import (
	"math"
	"sync/atomic"
)

// uses counts the calls under way in the database. Close waits for them: Pebble panics when
// it is closed under a reader, and a reader that waits for the disk cannot be told to end.
type uses struct {
	n    atomic.Int64 // calls under way, plus usesClosed after close
	idle chan struct{}
}

const usesClosed = math.MinInt64 / 2

func newUses() *uses { return &uses{idle: make(chan struct{}, 1)} }

// begin notes a call, which ends with end; false: the database is closed, or about to be.
func (u *uses) begin() bool {
	if u.n.Add(1) > 0 {
		return true
	}
	u.end()
	return false
}

func (u *uses) end() {
	if u.n.Add(-1) == usesClosed {
		select {
		case u.idle <- struct{}{}:
		default:
		}
	}
}

// close lets no more calls begin, and waits for those under way.
func (u *uses) close() {
	if u.n.Add(usesClosed) != usesClosed {
		<-u.idle
	}
}
