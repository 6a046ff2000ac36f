package consumer

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/segmentio/kafka-go/compress"
	"pgregory.net/rapid"

	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/kafka/wire"
	"trailhound/rules"
	"trailhound/state"
)

var allCodecs = []compress.Compression{compress.None, compress.Gzip, compress.Snappy, compress.Lz4, compress.Zstd}

// Entries come out of a work record as they went in, with any codec, and the record is
// never larger than size has promised.
func TestBundleRoundTrip(t *testing.T) {
	bundles := make(map[compress.Compression]*bundle) // reused: nothing of the former record may stay
	for _, codec := range allCodecs {
		bundles[codec] = &bundle{codec: codec}
	}
	var e entries
	rapid.Check(t, func(t *rapid.T) {
		codec := rapid.SampledFrom(allCodecs).Draw(t, "codec")
		b := bundles[codec]
		want := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 300), 1, 50).Draw(t, "entries")
		for _, entry := range want {
			cut := rapid.IntRange(0, len(entry)).Draw(t, "cut")
			b.add(entry[:cut], entry[cut:])
		}
		most := bundleHead + b.size()
		value := b.record()
		if len(value) > most || b.size() != 0 {
			t.Fatalf("record() = %d bytes, size() = %d behind it; want at most %d, and 0", len(value), b.size(), most)
		}
		if err := e.open(value); err != nil {
			t.Fatalf("open(record()) = %v; want nil", err)
		}
		defer e.close()
		for i := range want {
			got, err := e.next()
			if err != nil || !bytes.Equal(got, want[i]) {
				t.Fatalf("entry %d = %x, %v; want %x", i, got, err, want[i])
			}
		}
		if e.more() {
			t.Fatalf("more() = true behind %d entries; want false", len(want))
		}
	})
}

// An event of unusual size goes through like any other, and its memory is not kept.
func TestBundleOfALargeEvent(t *testing.T) {
	b := bundle{codec: compress.Snappy}
	for _, event := range [][]byte{[]byte("small"), bytes.Repeat([]byte("large"), 1<<20), []byte("small again")} {
		w := sampleWork()
		w.event = event
		b.add(w.appendHead(nil), w.event)
		got, err := worksOf(entries{}, b.record())
		if err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], w) {
			t.Errorf("%d works, %v from a record of one event of %d bytes; want the same", len(got), err, len(event))
		}
	}
	if n := cap(b.entries) + cap(b.value); n > 8*bundleBytes {
		t.Errorf("%d bytes are kept; want few", n)
	}
}

// A work record of another format, or an unreadable one, is a reason to stop, not to skip
// (PROTOCOL R3).
func TestBundleUnreadable(t *testing.T) {
	w := sampleWork()
	whole := recordOf(bundle{codec: compress.Snappy}, w, w, w)
	if whole[1] != byte(compress.Snappy) {
		t.Fatalf("three times the same event are not packed")
	}
	plain := recordOf(bundle{}, w)
	for name, c := range map[string]struct {
		value []byte
		want  error
	}{
		"nothing":                 {nil, errWorkCorrupt},
		"version 0":               {append([]byte{0}, plain[1:]...), errWorkFormat},
		"a newer version":         {append([]byte{newestFormat + 1}, plain[1:]...), errWorkFormat},
		"a newer version alone":   {[]byte{newestFormat + 1}, errWorkFormat},
		"half a head":             {plain[:1], errWorkCorrupt},
		"no event":                {plain[:bundleHead], errWorkCorrupt},
		"nothing, packed":         {[]byte("\x01\x03\x04\"M\x18BA0\x00\x00\x00\x00"), errWorkCorrupt}, // was taken for a record that was evaluated
		"unknown compression":     {append([]byte{plain[0], 9}, plain[2:]...), errWorkCorrupt},
		"not what it claims":      {append([]byte{plain[0], byte(compress.Zstd)}, plain[2:]...), errWorkCorrupt},
		"packed and cut off":      {whole[:len(whole)-1], errWorkCorrupt},
		"not packed and cut off":  {plain[:len(plain)-1], errWorkCorrupt},
		"something behind it":     {append(bytes.Clone(plain), 5, 1), errWorkCorrupt},
		"an entry without fields": {append(bytes.Clone(plain), 0), errWorkCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := worksOf(entries{}, c.value); !errors.Is(err, c.want) {
				t.Errorf("%d works, %v; want %v", len(got), err, c.want)
			}
		})
	}
}

func FuzzWorkRecord(f *testing.F) {
	w := sampleWork()
	for _, codec := range allCodecs {
		f.Add(recordOf(bundle{codec: codec}, w, w, w))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		got, err := worksOf(entries{}, value)
		if err != nil {
			if !errors.Is(err, errWorkFormat) && !errors.Is(err, errWorkCorrupt) {
				t.Errorf("worksOf(%x) = %v; want errWorkFormat or errWorkCorrupt", value, err)
			}
			return
		}
		again, err := worksOf(entries{}, recordOf(bundle{codec: compress.Snappy}, got...))
		if err != nil || fmt.Sprint(again) != fmt.Sprint(got) {
			t.Errorf("worksOf(recordOf(worksOf(%x))) = %v, %v; want %v", value, again, err, got)
		}
	})
}

// A transaction may end in the middle of a work record. The position is then the one before
// the record, and a detector that goes on from there drops the evaluated entries.
func TestDetectorCommitsInTheMiddleOfARecord(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	d := s.detector()
	d.each = d.event
	if err := d.changes.Take(t.Context()); err != nil {
		t.Fatal(err)
	}
	const first, size = 7, 50
	var all []work
	for n := range size {
		all = append(all, work{
			source: state.Source{Topic: "t", TopicID: [16]byte{1}, Offset: int64(n)}, recordTime: -1, pairs: []rules.Match{{Rule: rules.AssumeRoleUniqueIPID, Key: "arn:r"}},
			event: fmt.Appendf(nil, `{"eventVersion":"1.10","eventID":"%d","eventTime":"2026-03-01T12:00:00Z","eventName":"AssumeRole","sourceIPAddress":"192.0.2.%d","requestParameters":{"roleArn":"arn:r"}}`, n, n),
		})
	}
	rec := &wire.Record{Offset: first, Value: recordOf(bundle{codec: compress.Snappy}, all...)}

	d.begin(logPosition{first, noEpoch})
	d.most = size / 3 // entries that fill a batch
	if err := d.record(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	if at := d.local.Position().Work; at != first || d.next.offset != first+1 {
		t.Errorf("the committed position is %d in the middle of record %d, and the one at hand %d; want %d and %d", at, first, d.next.offset, first, first+1)
	}
	evaluated := size - d.events
	d.drop()

	// The next owner goes on from the committed position.
	d.producer.Drop()
	d.begin(logPosition{first, noEpoch})
	d.most = 0
	repeats := d.meter.Repeats
	before := counted(t, repeats)
	if err := d.record(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	if n := counted(t, repeats) - before; n != evaluated || evaluated == 0 || evaluated == size {
		t.Errorf("%d events are dropped as repeats; want the %d that were evaluated", n, evaluated)
	}
	if err := d.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if at := d.local.Position().Work; at != first+1 {
		t.Errorf("the committed position is %d behind record %d; want %d", at, first, first+1)
	}
	seen := make(map[string]bool)
	for _, alert := range kafkatest.ReadCommitted(t, s.brokers, s.app.Alerts) {
		id := string(alert.Headers[0].Value)
		if seen[id] {
			t.Errorf("alert %s is there twice; want once", id)
		}
		seen[id] = true
	}
	if len(seen) != size-1 { // the first address is trusted
		t.Errorf("%d alerts; want %d", len(seen), size-1)
	}
}

func counted(t *testing.T, c prometheus.Counter) int {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return int(m.GetCounter().GetValue())
}
