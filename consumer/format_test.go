package consumer

import (
	"bytes"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"trailhound/rules/cloudtrail"
	"trailhound/state"
	"trailhound/state/formattest"
)

var _ = flag.Bool("update", false, "write the files of new formats")

// Work topics hold records of older builds, and the next release may write records that
// this one must read already.
func TestFormatOfWork(t *testing.T) {
	var samples []formattest.Sample
	for name, change := range map[string]func(*work){
		"two pairs":           func(*work) {},
		"no timestamp":        func(w *work) { w.recordTime = -1 },
		"first position":      func(w *work) { w.source = state.Source{Topic: "t", TopicID: [16]byte{1}} },
		"no leader epoch":     func(w *work) { w.source.Epoch = -1 },
		"mark":                func(w *work) { w.pairs, w.event, w.newest, w.idle = nil, nil, 1772359200e9, true },
		"mark without a time": func(w *work) { w.pairs, w.event, w.newest = nil, nil, noNewest },
		"rewind":              func(w *work) { *w = work{rewind: 1772359200e9} },
	} {
		w := sampleWork()
		change(&w)
		samples = append(samples, formattest.Sample{Name: name, Bytes: w.record()})
	}
	later := sampleWork()
	later.source.Offset++
	samples = append(samples, formattest.Sample{Name: "two events", Bytes: recordOf(bundle{}, sampleWork(), later)}) // the codec is free to change
	slices.SortFunc(samples, func(a, b formattest.Sample) int { return strings.Compare(a.Name, b.Name) })
	formattest.Written(t, "work", writtenFormat, samples, meaningOfWork)
	formattest.Read(t, "work", newestFormat, meaningOfWork)
}

func meaningOfWork(s formattest.Sample) (string, error) {
	all, err := worksOf(entries{}, s.Bytes)
	var b strings.Builder
	for _, w := range all {
		if w.isMark() {
			fmt.Fprintf(&b, "newest %d idle %t rewind %d: ", w.newest, w.idle, w.rewind)
		}
		fmt.Fprintf(&b, "%s %x partition %d epoch %d offset %d index %d, recorded %d, for %q: %s\n",
			w.source.Topic, w.source.TopicID, w.source.Partition, w.source.Epoch, w.source.Offset, w.source.Index, w.recordTime, w.pairs, w.event)
	}
	return strings.TrimSpace(b.String()), err
}

// A work record of an unknown format is refused, with any number.
func TestFormatsThatWorkIsReadIn(t *testing.T) {
	w := sampleWork()
	b := w.record()
	for _, own := range []formats{{}, {1, 2}, {2, 2}, {2, 3}} {
		for version := range 256 {
			b[0] = byte(version)
			_, err := worksOf(entries{formats: own}, b)
			if known := version >= 1 && version <= int(own.orOwn().reads); (err == nil) != known {
				t.Errorf("a record of version %d, read by a build of %+v = %v; want an error: %t", version, own, err, !known)
			} else if !known && !strings.Contains(err.Error(), fmt.Sprintf("version %d", version)) {
				t.Errorf("a record of version %d = %q; want a sentence that names it", version, err)
			}
		}
	}
}

// A group must not have two members of which one cannot read the other's records; the broker
// sees to it, as long as two have a protocol in common exactly if each reads the other.
func TestGroupProtocolsAreFormats(t *testing.T) {
	if got := (formats{}).protocols()[0]; writtenFormat == 1 && got != "trailhound" {
		t.Errorf("the protocol of format 1 is %s; want trailhound, as ever", got)
	}
	var builds []formats
	for writes := byte(1); writes <= 4; writes++ {
		for reads := writes; reads <= 4; reads++ {
			builds = append(builds, formats{writes, reads})
		}
	}
	for _, a := range builds {
		for _, b := range builds {
			common := slices.ContainsFunc(a.protocols(), func(name string) bool { return slices.Contains(b.protocols(), name) })
			if understood := a.reads >= b.writes && b.reads >= a.writes; common != understood {
				t.Errorf("builds of %+v and %+v have the protocols %q and %q; they understand one another: %t", a, b, a.protocols(), b.protocols(), understood)
			}
		}
	}
}

// Changes of state have a format version of their own in the changelog. Raising that version
// means raising writtenFormat too, or a build that cannot read it is admitted to the group.
func TestFormatOfTheAppCoversTheChangelog(t *testing.T) {
	changelog := map[byte]byte{1: 1} // by the format of the app
	store, err := state.Open(state.Options{Dir: "state", FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	h, err := store.Shard(0)
	if err != nil {
		t.Fatal(err)
	}
	tx := h.Begin()
	defer tx.Discard()
	tx.SetWorkOffset(1, 0)
	for c := range tx.Changes() {
		if c.Value[0] != changelog[writtenFormat] {
			t.Errorf("the changelog is written in version %d, format %d of the app has version %d: raise writtenFormat, a release after newestFormat, and add a line here (deploy/upgrades.md)",
				c.Value[0], writtenFormat, changelog[writtenFormat])
		}
	}
}

// Readers of dead letters go by the names of headers; a name keeps its meaning, and headers
// may be added.
func TestFormatOfDeadLetters(t *testing.T) {
	bad := badEvent{index: 2, reason: cloudtrail.ReasonNotJSON, detail: "event 2 is not JSON", rule: "access_denied"}
	letter := deadLetter{
		stage: stageRouter, bad: []badEvent{bad, {index: 3, reason: cloudtrail.ReasonNoEventTime}}, key: []byte("key"), value: []byte("value"),
		recordTime: 1772359200123, source: sampleWork().source,
	}
	whole := letter
	whole.bad, whole.recordTime = []badEvent{{index: -1, reason: cloudtrail.ReasonCutOff, detail: "cut off"}}, -1
	samples := []formattest.Sample{
		{Name: "two events", Bytes: lettered(&letter, 1<<20)},
		{Name: "the record as a whole", Bytes: lettered(&whole, 1<<20)},
		{Name: "truncated", Bytes: lettered(&deadLetter{stage: stageDetector, bad: whole.bad, value: bytes.Repeat([]byte("v"), 200), recordTime: -1}, 2200)},
	}
	asIs := func(s formattest.Sample) (string, error) { return "", nil }
	formattest.Written(t, "dead-letter", 1, samples, asIs)
}

func lettered(d *deadLetter, limit int) []byte {
	key, value, headers := d.record(limit)
	var b strings.Builder
	for _, h := range headers {
		fmt.Fprintf(&b, "%s: %s; ", h.Key, h.Value)
	}
	fmt.Fprintf(&b, "%s = %s", key, value)
	return []byte(b.String())
}
