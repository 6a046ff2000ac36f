package state

import "time"

// life is the lifetime of a value that expires: its last write, its deadline, and its place
// in the index.
type life struct {
	newest int64 // event time of the last write: the newest of them, as events come late
	expiry int64 // its own; noTime: the default lifetime counts from newest
	filed  int64 // instant of its entry in the index, never after the deadline
}

// deadline is the instant from which on the value is absent.
func (l *life) deadline(lifetime time.Duration) int64 {
	if l.expiry != noTime {
		return l.expiry
	}
	return after(l.newest, lifetime)
}

const (
	flagOwnExpiry = 1 << iota // an own expiry is there
	flagFiled                 // the index entry is not at the own expiry
)

func (l *life) flags() (f byte) {
	if l.expiry != noTime {
		f = flagOwnExpiry
	}
	if l.expiry != l.filed {
		f |= flagFiled
	}
	return f
}

func (l *life) append(dst []byte) []byte {
	dst = appendTime(append(dst, l.flags()), l.newest)
	if l.expiry != noTime {
		dst = appendTime(dst, l.expiry)
	}
	if l.expiry != l.filed {
		dst = appendTime(dst, l.filed)
	}
	return dst
}

// life reads the life of a value that is filed by it.
func (r *reader) life() life {
	l, _ := r.lifeWith(0)
	if l.filed == noTime {
		r.fail()
	}
	return l
}

// lifeWith reads a life, and those of the other flags that are set with its own.
func (r *reader) lifeWith(others byte) (l life, extra byte) {
	f := r.byte()
	f, extra = f&^others, f&others
	l = life{newest: r.time(), expiry: noTime}
	if f&flagOwnExpiry != 0 {
		l.expiry = r.time()
	}
	l.filed = l.expiry
	if f&flagFiled != 0 {
		l.filed = r.time()
	}
	if !r.bad && (f != l.flags() || l.newest == noTime) {
		r.fail()
	}
	return l, extra
}

// filing is where a value's index entry is. Entries move lazily: one that is early stays,
// and Sweep moves it when its instant has come. So a value with an expiry that only ever
// moves on, as most do, costs the index nothing.
type filing struct {
	exists bool // on disk, and so has an entry
	at     int64
	renew  bool // Sweep found the entry early: move it to the deadline
}

// entry is the part of an entry of a Tx that is the same for all kinds of values that
// expire.
type entry struct {
	key   string // in the changelog
	file  filing
	dirty bool
	part  estimate
}

// next gives the instant under which a value with this deadline is filed.
func (f *filing) next(deadline int64) int64 {
	if f.exists && !f.renew {
		return min(f.at, deadline)
	}
	return deadline
}

// SetKeyExpiration makes the counter and the set under name absent from the instant
// at on, by the time of the events that ask. A name without a value is left alone.
// A timeline expires by the longest span that Within was asked for, and has no
// expiry of its own. An event that the counter's window has counted in an earlier
// evaluation, as far as its evidence tells, moves no expiry that the window has: the
// earlier one has set it, and a later copy must not make the window longer.
func (s *Scope) SetKeyExpiration(name string, at time.Time) {
	s.expire(name, func(int64) int64 { return nanos(at) })
}

// expire gives the counter and the set under name an expiry, by the event's time; for an
// event that the counter has counted before, by the time that it had then.
func (s *Scope) expire(name string, expiry func(now int64) int64) {
	n := s.counter(name)
	if c := n.live(); c != nil {
		now, repeated := s.now, !n.counted && s.repeats(n)
		if repeated {
			now = n.countedAt
		}
		if !repeated || c.expiry == noTime {
			s.tx.save(n.window)
			c.expiry = expiry(now)
		}
	}
	if m := n.liveSet(); m != nil {
		s.tx.save(n.header)
		m.now.expiry = expiry(s.now)
	}
}

// SetKeyTTL is SetKeyExpiration at d after the event's own time; for an event that the
// counter's window has counted before, at d after the time that it had then.
func (s *Scope) SetKeyTTL(name string, d time.Duration) {
	s.expire(name, func(now int64) int64 { return after(now, d) })
}

// Expiry gives the expiry that SetKeyExpiration or SetKeyTTL gave to the
// values under name: the earliest, if a counter and a set differ. Not ok: no
// value is there, or it has the default lifetime.
func (s *Scope) Expiry(name string) (at time.Time, ok bool) {
	expiry := int64(noTime)
	n := s.counter(name)
	if c := n.live(); c != nil {
		expiry = c.expiry
	}
	if m := n.liveSet(); m != nil && m.now.expiry != noTime && (expiry == noTime || m.now.expiry < expiry) {
		expiry = m.now.expiry
	}
	return instant(expiry), expiry != noTime
}
