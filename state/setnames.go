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

// changeNames makes the names follow a member that comes or goes.
func (e *setEntry) changeNames(name string, now member) {
	n := e.names
	if n == nil {
		return
	}
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

// first gives the first n members: it merges those on disk with those that came.
func (t *Tx) first(e *setEntry, n int) []string {
	e.knowNames()
	out := make([]string, 0, n)
	came, read := e.names.came, 0
	for len(out) < n && t.err == nil {
		if read == len(e.names.disk) && !e.names.ended {
			t.readNames(e, n)
		}
		disk := e.names.disk[read:]
		switch {
		case len(disk) == 0 && len(came) == 0:
			return out
		case len(came) == 0 || len(disk) > 0 && disk[0] < came[0]:
			out, read = append(out, disk[0]), read+1
		default:
			if len(disk) > 0 && disk[0] == came[0] {
				read++
			}
			out, came = append(out, came[0]), came[1:]
		}
	}
	return out
}
