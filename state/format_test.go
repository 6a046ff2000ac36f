package state

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"trailhound/state/formattest"
)

// The records in changelogs stay readable, and are written as they were until a later
// release gives them another version.
func TestFormatOfChanges(t *testing.T) {
	var samples []formattest.Sample
	for i, c := range exampleChanges() {
		samples = append(samples, formattest.Sample{Name: fmt.Sprintf("%d: kind %c", i, c.Key[0]), Key: c.Key, Bytes: c.Value})
	}
	formattest.Written(t, "changes", formatVersion, samples, meaning)
	formattest.Read(t, "changes", formatVersion, meaning)
}

// meaning gives the content of a record of the changelog as text.
func meaning(s formattest.Sample) (string, error) {
	k, err := parseKey(s.Key)
	if err != nil {
		return "", err
	}
	if k.kind == kindClaim {
		return "a claim", nil // the value of a claim is not read
	}
	if _, _, err := checkRecord(&k, s.Bytes); err != nil {
		return "", err
	}
	what, err := meaningOf(&k, s.Bytes)
	return strings.TrimSpace(fmt.Sprintf("%s %s", meaningOfKey(&k), what)), err
}

func meaningOfKey(k *parts) string {
	switch k.kind {
	case kindHeader, kindTimeline:
		return fmt.Sprintf("%c %s/%s/%s", k.kind, k.rule, k.key, k.name)
	case kindEvidence:
		return fmt.Sprintf("%c window %d slot %d", k.kind, k.set, k.slot)
	case kindTimelineBlock:
		return fmt.Sprintf("%c %s/%s/%s block %d", k.kind, k.rule, k.key, k.name, k.set)
	case kindWindow:
		return fmt.Sprintf("%c %s/%s/%s from %s", k.kind, k.rule, k.key, k.name, when(k.first))
	case kindSuppression:
		return fmt.Sprintf("%c %s/%s %x", k.kind, k.rule, k.key, k.hash)
	case kindPage:
		return fmt.Sprintf("%c page %d of %s", k.kind, k.page.number, when(k.page.end))
	case kindMember:
		return fmt.Sprintf("%c set %d member %s", k.kind, k.set, k.member)
	case kindDeadSet:
		return fmt.Sprintf("%c set %d", k.kind, k.set)
	case kindSource:
		return fmt.Sprintf("%c topic %x partition %d", k.kind, k.hash, k.partition)
	case kindMeta:
		return fmt.Sprintf("%c %s", k.kind, k.name)
	}
	return string(k.kind)
}

func meaningOf(k *parts, value []byte) (string, error) {
	switch k.kind {
	case kindHeader, kindWindow:
		return meaningOfHeader(value)
	case kindEvidence:
		return meaningOfBlock(value[1:], blockRefs)
	case kindMember:
		n, err := checkMember(value[1:])
		if err != nil {
			return "", err
		}
		return meaningOfBlock(value[1:], n)
	case kindTimeline:
		l, err := decodeTimeline(value)
		out := fmt.Sprintf("reach %s, %s", time.Duration(l.reach), meaningOfLife(&l.life))
		for _, b := range l.blocks {
			out += fmt.Sprintf(", block %d of %d from %s to %s", b.number, b.count, when(b.first), when(b.last))
		}
		return out + meaningOfEntries(l.head), err
	case kindTimelineBlock:
		entries, err := decodeTimelineBlock(value)
		return fmt.Sprint(len(entries), meaningOfEntries(entries)), err
	case kindSuppression:
		u, err := decodeSuppression(value)
		out := fmt.Sprintf("held %d", u.held)
		for _, a := range u.alerts {
			out += fmt.Sprintf(", alerts from %s to %s", when(a.first), when(a.last))
		}
		return out + ", " + meaningOfLife(&u.life), err
	case kindPage:
		events, err := decodePage(nil, value, k.page.end)
		var out []string
		for _, e := range events {
			out = append(out, fmt.Sprintf("%x until %s", e.hash, when(e.until)))
		}
		return strings.Join(out, ", "), err
	case kindPosition:
		p, err := decodePosition(value)
		out := fmt.Sprintf("work %d epoch %d stream %s horizon %s next number %d fingerprint %q", p.work, p.workEpoch, when(p.stream), when(p.reached), p.next, p.fingerprint)
		if p.rewound.before > 0 {
			out += fmt.Sprintf(", pages before %d until %s at most", p.rewound.before, when(p.rewound.until))
		}
		return out, err
	case kindSource:
		p, err := decodeSource(value)
		return fmt.Sprintf("epoch %d offset %d index %d newest %s idle %t retired %t", p.last.epoch, p.last.offset, p.last.index, when(p.newest), p.idle, p.retired), err
	case kindMeta:
		return fmt.Sprintf("%q", value[1:]), nil
	}
	return "", nil
}

func meaningOfHeader(value []byte) (string, error) {
	h, filed, err := decodeHeader(value)
	if err != nil {
		return "", err
	}
	out := "filed " + when(filed)
	if m := &h.set; m.exists {
		out += fmt.Sprintf(", set %d of %d, %s", m.number, m.count, meaningOfLife(&m.life))
	}
	if !h.counter.kept() {
		return out, nil
	}
	text, err := meaningOfCounter(&h.counter)
	return out + ", " + text, err
}

func meaningOfCounter(c *counter) (string, error) {
	out := "no window"
	if c.exists {
		refs, err := meaningOfBlock(c.head, headRefs(c.total))
		if err != nil {
			return "", err
		}
		out = fmt.Sprintf("count %d of %d since %s, blocks under %d, evidence %s", c.count, c.total, when(c.first), c.number, refs)
	}
	if c.older.ttl > 0 {
		out += fmt.Sprintf(", older ones of %s until %s", time.Duration(c.older.ttl), when(c.older.until))
	}
	return out + ", " + meaningOfLife(&c.life), nil
}

func meaningOfLife(l *life) string {
	return fmt.Sprintf("newest %s expiry %s filed %s", when(l.newest), when(l.expiry), when(l.filed))
}

func meaningOfBlock(block []byte, n int) (string, error) {
	refs, err := appendRefs(nil, block, n)
	var out []string
	for _, r := range refs {
		out = append(out, fmt.Sprintf("%s@%s %s/%d/%d/%d", r.ID, when(nanos(r.Time)), r.Source.Topic, r.Source.Partition, r.Source.Offset, r.Source.Index))
	}
	return strings.Join(out, " "), err
}

func meaningOfEntries(entries []Entry) (out string) {
	for _, e := range entries {
		out += fmt.Sprintf(", %q %s@%s %s/%d/%d/%d", e.Label, e.ID, when(nanos(e.Time)), e.Source.Topic, e.Source.Partition, e.Source.Offset, e.Source.Index)
	}
	return out
}

func when(n int64) string {
	if n == noTime {
		return "none"
	}
	return instant(n).Format(time.RFC3339Nano)
}

// The format of Pebble's files is this number until it is raised on purpose: a build with a
// Pebble older than that cannot open the directory any more.
func TestPebbleFormatIsPinned(t *testing.T) {
	const pinned = 21
	fs := vfs.NewMem()
	s, err := Open(Options{Dir: "state", FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := s.db.FormatMajorVersion(); got != pinned {
		t.Errorf("Open() makes a database of Pebble's format %d; want %d: a higher one comes a release after the one whose Pebble reads it (deploy/upgrades.md)", got, pinned)
	}
}

// A directory of an older Pebble format is brought up to the pinned one; a newer one that
// this Pebble reads stays as it is; both keep their records.
func TestPebbleFormatsBesidesThePinned(t *testing.T) {
	for name, tt := range map[string]struct{ was, want pebble.FormatMajorVersion }{
		"older": {pebble.FormatMinSupported, pebble.FormatTableFormatV6},
		"newer": {pebble.FormatNewest, pebble.FormatNewest},
	} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			db, err := pebble.Open("state", &pebble.Options{FS: fs, FormatMajorVersion: tt.was, Logger: logger{warn: func(m string) { t.Log(m) }}})
			if err != nil {
				t.Fatal(err)
			}
			h := &Shard{prefix: [2]byte{0, 3}}
			b := db.NewBatch()
			for _, kv := range [][2][]byte{{formatKey, {localFormat}}, {h.prefix[:], nil}} {
				if err := b.Set(kv[0], kv[1], nil); err != nil {
					t.Fatal(err)
				}
			}
			if err := b.Commit(pebble.Sync); err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			s, err := Open(Options{Dir: "state", FS: fs, Warn: func(m string) { t.Errorf("Warn was told %q; want nothing", m) }})
			if err != nil {
				t.Fatalf("Open() of a Pebble database of format %d = %v; want nil", tt.was, err)
			}
			defer s.Close()
			if got := s.db.FormatMajorVersion(); got != tt.want {
				t.Errorf("a Pebble database of format %d has format %d after Open(); want %d", tt.was, got, tt.want)
			}
			if numbers, err := s.Shards(); err != nil || len(numbers) != 1 || numbers[0] != 3 {
				t.Errorf("Shards() = %v, %v; want [3]", numbers, err)
			}
		})
	}
}

// An older local format, and a Pebble that is too old, are no damage: the copy is taken
// again from the changelog, and the warning names the version.
func TestOlderLocalStateIsTakenAgain(t *testing.T) {
	for name, tt := range map[string]struct {
		write func(*testing.T, vfs.FS)
		want  string
	}{
		"local format": {func(t *testing.T, fs vfs.FS) {
			db, err := pebble.Open("state", &pebble.Options{FS: fs, FormatMajorVersion: pebble.FormatTableFormatV6, Logger: logger{warn: func(m string) { t.Log(m) }}})
			if err != nil {
				t.Fatal(err)
			}
			if err := db.Set(formatKey, []byte{localFormat - 1}, pebble.Sync); err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		}, fmt.Sprintf("local format %d and this build reads format %d", localFormat-1, localFormat)},
		"Pebble": {func(t *testing.T, fs vfs.FS) {
			if err := fs.MkdirAll("state", 0o755); err != nil {
				t.Fatal(err)
			}
			f, err := fs.Create("state/marker.format-version.000001.002", vfs.WriteCategoryUnspecified)
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}, "Pebble database of format 2 and this build reads formats from"},
	} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			tt.write(t, fs)
			var told []string
			s, err := Open(Options{Dir: "state", FS: fs, Warn: func(m string) { told = append(told, m) }})
			if err != nil {
				t.Fatalf("Open() of an older format = %v; want nil", err)
			}
			defer s.Close()
			if len(told) != 1 || !strings.Contains(told[0], tt.want) || strings.Contains(told[0], "damage") {
				t.Errorf("Warn was told %q; want one sentence with %q, and no talk of damage", told, tt.want)
			}
			if numbers, err := s.Shards(); err != nil || len(numbers) > 0 {
				t.Errorf("Shards() = %v, %v; want none", numbers, err)
			}
		})
	}
}

// A build that goes back finds the records of a newer one in the directory: it says so, and
// leaves all of them where they are.
func TestNewerLocalRecordsAreLeftAlone(t *testing.T) {
	fs := vfs.NewMem()
	s, err := Open(Options{Dir: "state", FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	h := &Shard{store: s, prefix: [2]byte{0, 3}}
	b := s.db.NewBatch()
	if err := h.set(b, positionKey, []byte{formatVersion + 1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	if err := h.commit(b); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(b.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s, err := Open(Options{Dir: "state", FS: fs, Warn: func(m string) { t.Errorf("Warn was told %q; want nothing", m) }})
		if err != nil {
			t.Fatalf("Open() = %v; want nil", err)
		}
		if _, err := s.Shard(3); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "version 2") {
			t.Errorf("Shard(3) of a newer build = %v; want ErrFormat with its version", err)
		}
		if err := s.Err(); err == nil || !strings.Contains(err.Error(), "a newer build has written") || !strings.Contains(err.Error(), "run the build that wrote it") {
			t.Errorf("Err() = %v; want a sentence with the way out", err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close() = %v; want nil", err)
		}
	}
}
