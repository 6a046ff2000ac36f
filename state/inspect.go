package state

import (
	"bytes"
	"iter"
	"slices"
	"time"
)

// ValueKind is a kind of [Value].
type ValueKind string

// The kinds of value.
const (
	ValueCounter     ValueKind = "counter"
	ValueSet         ValueKind = "set"
	ValueTimeline    ValueKind = "timeline"
	ValueSuppression ValueKind = "suppression"
)

// Value is one value as it is kept, for people to look at. Of a counter it is
// one window.
type Value struct {
	Kind      ValueKind
	Rule, Key string
	Name      string    // "" for a suppression: of its dedup string only a hash is kept
	Count     int64     // the count, the number of members or entries, or of alerts held back
	Counted   int64     // events of a counter's window, entries of a timeline
	First     time.Time // the first event of a counter's window, or of a timeline; zero for the other kinds
	Newest    time.Time // event time of the newest write; of a suppression, the end of its span
	Expiry    time.Time // the event time from which on the value is absent
	OwnExpiry bool      // SetKeyExpiration gave it; else it is the lifetime after Newest

	changelogKey string
	number       uint64 // of a set
}

// Live tells whether the value has not expired for an event of this time. Sweep removes
// it only some time after its expiry, so a Value that is given may be dead. A live window
// of a counter need not be that of the event: see ValuesAt.
func (v *Value) Live(at time.Time) bool { return at.Before(v.Expiry) }

// Values gives the values of one rule and key as this Tx sees them, its own
// changes included; those of a Scope that is not committed are not. An empty
// key stands for all keys, an empty rule for all rules. The newest windows of
// counters come first, then the older ones, of which one name may have several,
// oldest first, then sets, timelines and suppressions; each in the order of the
// changelog's keys.
//
// It reads and changes nothing, but it ends an open Scope. Errors of the store stick to the Tx and end the sequence.
func (t *Tx) Values(rule, key string) iter.Seq[Value] {
	return func(yield func(Value) bool) {
		t.rollback()
		headers := keysOf(t.headers)
		_ = t.valuesOf(kindHeader, ValueCounter, rule, key, headers, yield) &&
			t.valuesOf(kindWindow, ValueCounter, rule, key, headers, yield) &&
			t.valuesOf(kindHeader, ValueSet, rule, key, headers, yield) &&
			t.valuesOf(kindTimeline, ValueTimeline, rule, key, keysOf(t.timelines), yield) &&
			t.valuesOf(kindSuppression, ValueSuppression, rule, key, keysOf(t.suppressions), yield)
	}
}

// ValuesAt gives those of Values that an event of this time meets: the values not expired
// for it, and of each counter one window at most.
func (t *Tx) ValuesAt(rule, key string, at time.Time) []Value {
	type name struct{ rule, key, name string }
	var out []Value
	var counters []name
	windows := map[name][]Value{}
	for v := range t.Values(rule, key) {
		switch n := (name{v.Rule, v.Key, v.Name}); {
		case v.Kind != ValueCounter && v.Live(at):
			out = append(out, v)
		case v.Kind == ValueCounter:
			if windows[n] == nil {
				counters = append(counters, n)
			}
			windows[n] = append(windows[n], v)
		}
	}
	var met []Value
	for _, n := range counters {
		if w := meets(windows[n], nanos(at), t.shard.store.lifetime); w != nil {
			met = append(met, *w)
		}
	}
	return append(met, out...)
}

// meets gives, of the windows of a counter, the one for an event of this time, as Tx.window
// does; nil: there is none.
func meets(windows []Value, now int64, lifetime time.Duration) (met *Value) {
	var next *Value
	for i := range windows {
		v := &windows[i]
		c := v.window()
		switch {
		case c.holds(now, lifetime):
			if met == nil || v.First.After(met.First) {
				met = v
			}
		case c.first > now && c.deadline(lifetime) > c.first && (next == nil || v.First.Before(next.First)):
			next = v
		}
	}
	if met == nil && next != nil {
		if c := next.window(); c.takes(now) {
			met = next
		}
	}
	return met
}

// window gives the counter's window, as far as the time of an event is compared with it.
func (v *Value) window() counter {
	c := counter{exists: true, first: nanos(v.First), life: life{newest: nanos(v.Newest), expiry: noTime}}
	if v.OwnExpiry {
		c.expiry = nanos(v.Expiry)
	}
	return c
}

func keysOf[T any](entries map[string]*T) []string {
	keys := make([]string, 0, len(entries))
	for key := range entries {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// valuesOf merges the values on disk under one kind of keys with those of the Tx; held has
// the sorted keys of the latter. It reports whether yield wants more.
func (t *Tx) valuesOf(keys byte, kind ValueKind, rule, key string, held []string, yield func(Value) bool) bool {
	prefix := inspectPrefix(keys, rule, key)
	held = slices.DeleteFunc(slices.Clone(held), func(k string) bool { return !bytes.HasPrefix([]byte(k), prefix) })
	more := t.err == nil
	show := func(key string, onDisk []byte) bool {
		v, ok, err := t.valueAt(kind, key, onDisk)
		t.damaged([]byte(key), err)
		return err == nil && (!ok || yield(v))
	}
	err := t.shard.scan(prefix, nil, func(key, value []byte) (bool, error) {
		for more && len(held) > 0 && held[0] < string(key) {
			more, held = show(held[0], nil), held[1:]
		}
		if more && len(held) > 0 && held[0] == string(key) {
			held = held[1:]
		}
		more = more && show(string(key), value)
		return more, nil
	})
	if err != nil {
		t.fail(err)
		return false
	}
	for more && len(held) > 0 {
		more, held = show(held[0], nil), held[1:]
	}
	return more
}

func inspectPrefix(kind byte, rule, key string) []byte {
	prefix := []byte{kind}
	if rule == "" {
		return prefix
	}
	if prefix = appendPart(prefix, rule); key != "" {
		prefix = appendPart(prefix, key)
	}
	return prefix
}

// valueAt gives the value of this kind under a changelog key: as the Tx holds it, else as
// it is on disk. Not ok: it is absent.
func (t *Tx) valueAt(kind ValueKind, changelogKey string, onDisk []byte) (v Value, ok bool, err error) {
	k, err := parseKey([]byte(changelogKey))
	if err != nil {
		return Value{}, false, err
	}
	v = Value{Kind: kind, Rule: string(k.rule), Key: string(k.key), Name: string(k.name), changelogKey: changelogKey}
	var l life
	switch kind {
	case ValueCounter, ValueSet:
		var h header
		if e := t.headers[changelogKey]; e != nil {
			h = e.header()
		} else if h, _, err = decodeHeader(onDisk); err != nil {
			return Value{}, false, err
		}
		c, m := &h.counter, &h.set
		if kind == ValueSet {
			v.Count, v.number, l, ok = m.count, m.number, m.life, m.exists
		} else {
			v.Count, v.Counted, v.First, l, ok = c.count, int64(c.total), instant(c.first), c.life, c.exists
		}
	case ValueTimeline:
		var line timeline
		if e := t.timelines[changelogKey]; e != nil {
			line = e.now
		} else if line, err = decodeTimeline(onDisk); err != nil {
			return Value{}, false, err
		}
		n := int64(line.count())
		v.Count, v.Counted, v.First, l, ok = n, n, instant(line.first()), line.life, line.exists
	case ValueSuppression:
		var u suppression
		if e := t.suppressions[changelogKey]; e != nil {
			u = e.now
		} else if u, err = decodeSuppression(onDisk); err != nil {
			return Value{}, false, err
		}
		v.Count, l, ok = u.held, u.life, u.exists
	}
	v.Newest, v.OwnExpiry = instant(l.newest), l.expiry != noTime
	v.Expiry = instant(l.deadline(t.shard.store.lifetime))
	return v, ok, nil
}

// MembersOf gives the first n members, sorted by their bytes, of a set that
// Values of the same Tx has given.
func (t *Tx) MembersOf(v Value, n int) []string {
	if v.Kind != ValueSet || n <= 0 {
		return nil
	}
	t.rollback()
	if h := t.headers[v.changelogKey]; h != nil && h.set != nil {
		return t.first(h.set, min(n, int(v.Count)))
	}
	m := set{exists: true, number: v.number, count: v.Count}
	return t.first(&setEntry{disk: m, now: m}, min(n, int(v.Count)))
}
