package state

import "slices"

// memberNames is the names of a set's members in a Tx in the order of their bytes, as far
// as they were asked for: to ask again costs neither a look at the disk nor another sort.
type memberNames struct {
	came  []string // members among the changes of the Tx
	disk  []string // the first members on disk that were not among the changes when they were read
	next  []byte   // key from which on the disk has not been read
	ended bool     // it has been read to its end
}

// fewNames is how many names are put in or taken out one by one.
const fewNames = 8

// takeNames keeps the names as they are once these changes are part of the Tx.
func (e *setEntry) takeNames(changes map[string]member) {
	if e.names == nil || len(changes) == 0 {
		return
	}
	n := e.names
	if len(changes) > fewNames {
		for name, now := range changes {
			if was := e.members[name]; now.in && !was.in {
				n.came = append(n.came, name)
			}
		}
		went := func(name string) bool {
			now, changed := changes[name]
			return changed && !now.in
		}
		n.came, n.disk = slices.DeleteFunc(n.came, went), slices.DeleteFunc(n.disk, went)
		slices.Sort(n.came)
		return
	}
	for name, now := range changes {
		at, known := slices.BinarySearch(n.came, name)
		switch {
		case now.in && !known:
			n.came = slices.Insert(n.came, at, name)
		case !now.in && known:
			n.came = slices.Delete(n.came, at, at+1)
		}
		if at, known = slices.BinarySearch(n.disk, name); !now.in && known {
			n.disk = slices.Delete(n.disk, at, at+1)
		}
	}
}

// knowNames sorts the members that the changes of the Tx bring.
func (e *setEntry) knowNames() {
	if e.names != nil {
		return
	}
	e.names = new(memberNames)
	for name, now := range e.members {
		if now.in {
			e.names.came = append(e.names.came, name)
		}
	}
	slices.Sort(e.names.came)
}

// readNames reads about n more names from disk.
func (t *Tx) readNames(e *setEntry, n int) {
	names := e.names
	prefix := appendMemberKey(nil, e.now.number, "")
	names.ended = true
	if !e.onDisk() {
		return
	}
	t.scan(prefix, names.next, func(key, _ []byte) bool {
		name := string(key[len(prefix):])
		if _, changed := e.members[name]; !changed {
			names.disk = append(names.disk, name)
			n--
		}
		if n > 0 {
			return true
		}
		names.ended, names.next = false, append(slices.Clone(key), 0)
		return false
	})
}

// first gives the first n members as the evaluation sees them.
func (m *scopeSet) first(n int) []string {
	own := make([]string, 0, len(m.members))
	for name, now := range m.members {
		if now.in {
			own = append(own, name)
		}
	}
	slices.Sort(own)
	if m.replaced {
		return own[:n]
	}
	return m.scope.tx.first(m.entry, n, own, m.members)
}

// first merges the first n of the members in the Tx with own, the sorted members of an
// evaluation, without the members that changes removes.
func (t *Tx) first(e *setEntry, n int, own []string, changes map[string]member) []string {
	e.knowNames()
	out := make([]string, 0, n)
	came, read := e.names.came, 0
	for len(out) < n {
		if read == len(e.names.disk) && !e.names.ended {
			t.readNames(e, n)
		}
		name, ok := "", false
		for _, list := range [...][]string{e.names.disk[read:], came, own} {
			if len(list) > 0 && (!ok || list[0] < name) {
				name, ok = list[0], true
			}
		}
		if !ok || t.err != nil {
			break
		}
		if read < len(e.names.disk) && e.names.disk[read] == name {
			read++
		}
		if len(came) > 0 && came[0] == name {
			came = came[1:]
		}
		if len(own) > 0 && own[0] == name {
			own = own[1:]
		} else if _, changed := changes[name]; changed {
			continue // it went
		}
		out = append(out, name)
	}
	return out
}
