package group

import "context"

// Members returns the number of the group's members, dead ones included until their session
// ends; it repeats and fails like Describe.
func (m *Member) Members(ctx context.Context) (int, error) {
	d, err := m.Describe(ctx)
	return len(d.Members), err
}
