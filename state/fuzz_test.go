package state

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"
)

func reencode(k *parts, value []byte) ([]byte, error) {
	switch k.kind {
	case kindHeader:
		h, _, err := decodeHeader(value)
		return h.append(nil), err
	case kindWindow:
		c, _, err := decodeWindow(value)
		return (&header{counter: c}).append(nil), err
	case kindTimeline:
		l, err := decodeTimeline(value)
		return l.append(nil), err
	case kindTimelineBlock:
		entries, err := decodeTimelineBlock(value)
		return appendEntries([]byte{formatVersion}, entries), err
	case kindSuppression:
		u, err := decodeSuppression(value)
		return u.append(nil), err
	case kindPage:
		events, err := decodePage(nil, value, k.page.end)
		return appendPage(nil, events), err
	case kindPosition:
		p, err := decodePosition(value)
		return p.append(nil), err
	case kindSource:
		p, err := decodeSource(value)
		return p.append(nil), err
	case kindEvidence:
		return reencodeBlock(value)
	}
	_, _, err := checkRecord(k, value)
	return value, err
}

func reencodeBlock(value []byte) ([]byte, error) {
	if _, _, err := checkValue(kindEvidence, value); err != nil {
		return nil, err
	}
	refs, err := appendRefs(nil, value[1:], blockRefs)
	r := reader{b: value[1:]}
	block := appendPart(nil, r.part())
	for i := range refs {
		block = appendRef(block, &refs[i], nanos(refs[i].Time))
	}
	return append([]byte{formatVersion}, block...), err
}

func FuzzChange(f *testing.F) {
	for _, c := range exampleChanges() {
		f.Add(c.Key, c.Value)
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		k, err := parseKey(key)
		if err != nil {
			return
		}
		if got := k.append(nil); !bytes.Equal(got, key) {
			t.Fatalf("key %q decoded and encoded = %q", key, got)
		}
		_, _, err = checkRecord(&k, value)
		if len(value) > 0 && value[0] != formatVersion && k.kind != kindClaim && !errors.Is(err, ErrFormat) {
			t.Fatalf("checkValue(%q, %q) = %v; want ErrFormat", k.kind, value, err)
		}
		if err != nil {
			return
		}
		if got, err := reencode(&k, value); err != nil || !bytes.Equal(got, value) {
			t.Fatalf("value %q of kind %q decoded and encoded = %q, %v", value, k.kind, got, err)
		}
	})
}

func FuzzTime(f *testing.F) {
	for _, n := range []int64{0, 1, -1, 1e9, -1e9, 1772323200e9, noTime, noTime + 1, 1<<63 - 1} {
		f.Add(n)
	}
	f.Fuzz(func(t *testing.T, n int64) {
		r := reader{b: appendTime(nil, n)}
		if got := r.time(); got != n || r.close() != nil {
			t.Fatalf("time(appendTime(%d)) = %d, %v", n, got, r.close())
		}
		if n == noTime {
			return
		}
		if got := nanos(time.Unix(0, n)); got != n {
			t.Fatalf("nanos(Unix(0, %d)) = %d", n, got)
		}
	})
}

func FuzzUUID(f *testing.F) {
	f.Add("0b6e7c1e-0000-4000-8000-0123456789ab")
	f.Add("0B6E7C1E-0000-4000-8000-0123456789AB")
	f.Add("0b6e7c1e-0000-4000-8000-0123456789a")
	f.Fuzz(func(t *testing.T, s string) {
		u, ok := packUUID(s)
		if got := unpackUUID(u[:]); ok && got != s {
			t.Fatalf("unpackUUID(packUUID(%q)) = %q", s, got)
		}
	})
}

// exampleChanges has a record of each kind and shape.
func exampleChanges() []Change {
	ref := Ref{ID: "0b6e7c1e-0000-4000-8000-0123456789ab", Time: time.Unix(1772323200, 5), Source: Source{Topic: "trail", Partition: 3, Offset: 4711, Index: 2}}
	other := Ref{ID: "short", Time: time.Unix(1772323201, 0), Source: Source{Topic: "other"}}
	head := appendRef(appendRef(nil, &ref, nanos(ref.Time)), &other, nanos(other.Time))
	own := life{newest: 2e9, expiry: 5e9, filed: 5e9}
	unlimited := life{newest: 2e9, expiry: noTime, filed: 7e9}
	early := life{newest: 2e9, expiry: 9e9 + 1, filed: 7e9}
	block := []byte{formatVersion}
	for i := range blockRefs {
		r := ref
		if i%3 == 0 {
			r = other
		}
		block = append(block[:1:1], appendRef(block[1:], &r, nanos(r.Time))...)
	}
	named := func(kind byte) parts {
		return parts{kind: kind, rule: []byte("rule"), key: []byte("key"), name: []byte("name"), slot: 6, first: 1e9, hash: [16]byte{1}, page: pageID{number: 5, end: 600e9}, set: 3, member: []byte("m"), partition: -1}
	}
	c := counter{count: -5, total: 18, first: 1e9, life: own, number: 3, head: head}
	beside := counter{count: 5, total: 2, first: 1e9, life: own, head: head, older: older{until: 4e9, ttl: 3e9 + 1}}
	vacant := counter{life: life{newest: 4e9, expiry: 4e9, filed: 4e9}, older: older{until: 4e9, ttl: 3e9}}
	c2 := counter{count: 5, total: 2, first: 1e9, life: unlimited, head: head}
	m := set{exists: true, number: 3, count: 9, life: early}
	counted := func(c counter) []byte {
		c.exists = c.total > 0
		return (&header{counter: c}).append(nil)
	}
	alone, both := header{set: m}, header{set: m, counter: c}
	both.counter.exists = true
	u := suppression{held: 4, alerts: []alertSpan{{1e9, 1e9}, {5e9, 7e9 + 1}}, life: unlimited}
	back := position{work: -1, stream: 3e9, reached: noTime, next: 4, rewound: rewound{before: 4, until: 2e9}}
	p := position{work: 9, workEpoch: 3, stream: 3e9, reached: 1e9, next: 4, fingerprint: []byte("f")}
	idle := source{last: sourcePosition{epoch: 3, offset: -1, index: 7}, newest: 5e9, idle: true}
	retired := source{last: sourcePosition{epoch: -1, offset: 8}, newest: noTime, retired: true}
	when := func(r Ref, at int64) Ref { r.Time = instant(at); return r }
	entries := []Entry{{"", when(other, 2e9)}, {"label", when(ref, 2e9+1)}}
	line := timeline{life: life{newest: 3e9, expiry: 6e9, filed: 5e9}, reach: 3e9, blocks: []blockExtent{{4, 128, 1e9, 1e9 + 1}, {7, 2, 2e9, 2e9}}, head: entries}
	plain := timeline{life: unlimited, head: []Entry{{"", when(ref, 2e9)}}}
	spent := timeline{life: own, reach: 3e9, blocks: []blockExtent{{0, 1, 1e9, 1e9}}}
	var changes []Change
	for _, v := range []struct {
		kind  byte
		value []byte
	}{
		{kindHeader, counted(c)}, {kindHeader, counted(c2)}, {kindHeader, counted(beside)}, {kindHeader, counted(vacant)}, {kindHeader, alone.append(nil)}, {kindHeader, both.append(nil)}, {kindWindow, counted(c)}, {kindSuppression, u.append(nil)},
		{kindPage, appendPage(nil, []remembered{{[16]byte{1}, 3e9}, {[16]byte{2}, 599e9 + 1}})}, {kindEvidence, block}, {kindDeadSet, []byte{1}}, {kindMember, append([]byte{1}, head...)}, {kindMember, append([]byte{1}, appendRef(nil, &ref, nanos(ref.Time))...)},
		{kindTimeline, line.append(nil)}, {kindTimeline, spent.append(nil)}, {kindTimeline, plain.append(nil)}, {kindTimelineBlock, appendEntries([]byte{formatVersion}, entries)},
		{kindMeta, []byte("\x01value")}, {kindSource, idle.append(nil)}, {kindSource, retired.append(nil)}, {kindPosition, p.append(nil)}, {kindPosition, back.append(nil)},
		{kindPosition, noPosition.append(nil)}, {kindClaim, []byte{1}},
	} {
		k := named(v.kind)
		changes = append(changes, Change{k.append(nil), v.value})
	}
	return changes
}

var update = flag.Bool("update", false, "write the golden files")

// The formats are frozen: the records in changelogs must stay readable, and a new way to
// write them needs a new version.
func TestFormatIsFrozen(t *testing.T) {
	var got strings.Builder
	for _, c := range exampleChanges() {
		fmt.Fprintf(&got, "%q\n\t%q\n", c.Key, c.Value)
	}
	const file = "testdata/format.golden"
	if *update {
		if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("changes are written as\n%s; want\n%s", got.String(), want)
	}
}

func TestExampleChangesAreWellFormed(t *testing.T) {
	for _, c := range exampleChanges() {
		k, err := parseKey(c.Key)
		if err != nil {
			t.Errorf("parseKey(%q) = %v; want nil", c.Key, err)
		}
		if got, err := reencode(&k, c.Value); err != nil || !bytes.Equal(got, c.Value) {
			t.Errorf("value %q of kind %q decoded and encoded = %q, %v", c.Value, k.kind, got, err)
		}
	}
}

// A page is read as it was written, or not at all; and it is filed where none of its events
// is remembered any more when it is due.
func FuzzPage(f *testing.F) {
	for _, until := range []int64{0, 1, -1, 599e9, 600e9, -600e9, 1772323200e9, noTime + 1, 1<<63 - 1} {
		f.Add(appendPage(nil, []remembered{{[16]byte{1}, until}, {[16]byte{2}, until}}), pageEnd(until))
	}
	f.Fuzz(func(t *testing.T, value []byte, end int64) {
		events, err := decodePage(nil, value, end)
		if err != nil {
			return
		}
		if got := appendPage(nil, events); !bytes.Equal(got, value) {
			t.Fatalf("page %x decoded and encoded = %x", value, got)
		}
		for _, e := range events {
			if late := e.until >= end && end < math.MaxInt64; late || end-e.until > int64(pageSpan) || end < math.MaxInt64 && end%int64(pageSpan) != 0 {
				t.Fatalf("an event that is remembered until %d is in the page of %d", e.until, end)
			}
		}
	})
}
