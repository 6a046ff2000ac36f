package group

import "context"

// Members returns how many members the group has, dead ones whose session has not
// ended among them; the rest is as for Describe.
func (m *Member) Members(ctx context.Context) (int, error) {
	d, err := m.Describe(ctx)
	return len(d.Members), err
}
