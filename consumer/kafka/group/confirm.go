package group

import (
	"context"
	"fmt"
)

// Confirm returns the assignment once a heartbeat that was sent after this call has
// confirmed it (PROTOCOL D5). It waits through rebalances, and for a lost membership to
// come back. Concurrent callers share one heartbeat.
func (m *Member) Confirm(ctx context.Context) (Assignment, error) {
	m.init()
	m.mu.Lock()
	before := m.begun
	m.mu.Unlock()
	for {
		m.mu.Lock()
		a, ok := m.current, m.held && m.confirmed > before
		ended, changed := m.ended, m.changed
		if !ok && ended == nil && !(m.beating && m.begun > before) {
			m.nudge() // under the lock: a heartbeat that begins meanwhile takes it along
		}
		m.mu.Unlock()
		if ok {
			return a, nil
		}
		if ended != nil {
			return Assignment{}, fmt.Errorf("confirm the assignment of group %s: %w", m.Group, ended)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Assignment{}, fmt.Errorf("confirm the assignment of group %s: %w", m.Group, ctx.Err())
		}
	}
}
