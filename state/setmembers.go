package state

import (
	"cmp"
	"slices"
)

// eachMember calls fn for every member of a set in the Tx, in no order. Name and block are
// valid until fn returns.
func (t *Tx) eachMember(e *setEntry, fn func(name, block []byte)) {
	for name, now := range e.members {
		if now.in {
			fn([]byte(name), now.block)
		}
	}
	if !e.onDisk() {
		return
	}
	prefix := appendMemberKey(nil, e.now.number, "")
	t.scan(prefix, nil, func(key, value []byte) bool {
		name := key[len(prefix):]
		if _, changed := e.members[string(name)]; !changed && len(value) > 0 {
			fn(name, value[1:])
		}
		return t.err == nil
	})
}

// oldest gives the n members with the oldest newest event, of several the first by their
// bytes. It reads every member.
func (t *Tx) oldest(e *setEntry, n int) []string {
	type use struct {
		name string
		last int64
	}
	all := make([]use, 0, e.now.count)
	t.eachMember(e, func(name, block []byte) {
		_, last, err := spanOf(block)
		t.brokenMember(e, err)
		all = append(all, use{string(name), last})
	})
	if t.err != nil {
		return nil
	}
	slices.SortFunc(all, func(a, b use) int { return cmp.Or(cmp.Compare(a.last, b.last), cmp.Compare(a.name, b.name)) })
	names := make([]string, 0, n)
	for _, u := range all[:min(n, len(all))] {
		names = append(names, u.name)
	}
	return names
}
