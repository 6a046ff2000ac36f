package group

import "testing"

// A caller that is no member can count the members, also of a group without a join so far.
func TestMembers(t *testing.T) {
	each(t, 2, 0, func(b *bench) {
		one := b.start("one")
		b.settle([]int{2}, one)
		asking := &Member{Client: one.Client, Group: one.Group}
		if n, err := asking.Members(b.ctx); n != 1 || err != nil {
			b.Errorf("Members() = %d, %v; want 1", n, err)
		}
		asking.Group += "-of-nobody"
		if n, err := asking.Members(b.ctx); n != 0 || err != nil {
			b.Errorf("Members() of no group = %d, %v; want 0", n, err)
		}
	})
}
