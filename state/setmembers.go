package state

import (
	"cmp"
	"slices"
)

// eachMember calls fn for every member of a set in the Tx that changes does not have, in
// no order. Name and block are valid until fn returns.
func (t *Tx) eachMember(e *setEntry, changes map[string]member, fn func(name, block []byte)) {
	for name, now := range e.members {
		if _, changed := changes[name]; now.in && !changed {
			fn([]byte(name), now.block)
		}
	}
	if !e.onDisk() {
		return
	}
	prefix := appendMemberKey(nil, e.now.number, "")
	t.scan(prefix, nil, func(key, value []byte) bool {
		name := key[len(prefix):]
		_, changed := changes[string(name)]
		if _, also := e.members[string(name)]; !changed && !also && len(value) > 0 {
			fn(name, value[1:])
		}
		return t.err == nil
	})
}

// each calls fn for every member as the evaluation sees the set.
func (m *scopeSet) each(fn func(name, block []byte)) {
	for name, now := range m.members {
		if now.in {
			fn([]byte(name), now.block)
		}
	}
	if !m.replaced {
		m.scope.tx.eachMember(m.entry, m.members, fn)
	}
}

// oldest gives the n members with the oldest newest event, of several the first by their
// bytes. It reads every member.
func (m *scopeSet) oldest(n int) []string {
	type use struct {
		name string
		last int64
	}
	all := make([]use, 0, m.count)
	m.each(func(name, block []byte) {
		_, last, err := spanOf(block)
		if err != nil {
			m.scope.brokenEvidence(err)
		}
		all = append(all, use{string(name), last})
	})
	if m.scope.failed() {
		return nil
	}
	slices.SortFunc(all, func(a, b use) int { return cmp.Or(cmp.Compare(a.last, b.last), cmp.Compare(a.name, b.name)) })
	names := make([]string, 0, n)
	for _, u := range all[:min(n, len(all))] {
		names = append(names, u.name)
	}
	return names
}
