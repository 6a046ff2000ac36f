package consumer

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"trailhound/rules"
	"trailhound/state"
)

// append encodes w as the value of a record.
func (w *work) append(dst []byte) []byte { return append(w.appendHead(dst), w.event...) }

func sampleWork() work {
	return work{
		source:     state.Source{Topic: "cloudtrail", TopicID: [16]byte{1, 2, 3}, Partition: 7, Offset: 1 << 40, Index: 3},
		recordTime: 1772359200123,
		pairs:      []rules.Match{{Rule: "access_denied", Key: "arn:aws:iam::111122223333:user/alice"}, {Rule: "own", Key: "\x00\xff"}},
		event:      []byte(`{"eventVersion":"1.10"}`),
	}
}

func TestWorkRoundTrip(t *testing.T) {
	for name, change := range map[string]func(*work){
		"full":           func(*work) {},
		"no pairs":       func(w *work) { w.pairs = []rules.Match{} },
		"no timestamp":   func(w *work) { w.recordTime = -1 },
		"empty event":    func(w *work) { w.event = []byte{} },
		"zero topic id":  func(w *work) { w.source.TopicID = [16]byte{} },
		"first position": func(w *work) { w.source.Partition, w.source.Offset, w.source.Index = 0, 0, 0 },
	} {
		t.Run(name, func(t *testing.T) {
			want := sampleWork()
			change(&want)
			got := sampleWork() // reused: nothing of the former record may stay
			if err := got.decode(want.append(nil), new(interner)); err != nil {
				t.Fatalf("decode(append(%+v)) = %v; want nil", want, err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("decode(append(%+v)) = %+v; want the same", want, got)
			}
		})
	}
}

// A work record of another format is a reason to stop, not to skip: PROTOCOL R3.
func TestWorkUnknownFormat(t *testing.T) {
	b := (&work{}).append(nil)
	b[0] = newestFormat + 1
	if err := new(work).decode(b, new(interner)); !errors.Is(err, errWorkFormat) {
		t.Errorf("decode(format %d) = %v; want errWorkFormat", b[0], err)
	}
}

func TestWorkCutOff(t *testing.T) {
	w := sampleWork()
	whole := w.append(nil)
	fields := len(whole) - len(w.event)
	for n := range fields {
		err := new(work).decode(whole[:n], new(interner))
		if !errors.Is(err, errWorkCorrupt) {
			t.Errorf("decode(%d of %d bytes) = %v; want errWorkCorrupt", n, len(whole), err)
		}
	}
}

func FuzzWork(f *testing.F) {
	w := sampleWork()
	f.Add(w.append(nil))
	f.Add([]byte{writtenFormat})
	f.Fuzz(func(t *testing.T, b []byte) {
		var got work
		if err := got.decode(b, new(interner)); err != nil {
			if !errors.Is(err, errWorkFormat) && !errors.Is(err, errWorkCorrupt) {
				t.Errorf("decode(%x) = %v; want errWorkFormat or errWorkCorrupt", b, err)
			}
			return
		}
		var again work
		if err := again.decode(got.append(nil), new(interner)); err != nil {
			t.Fatalf("decode(append(decode(%x))) = %v; want nil", b, err)
		}
		if !bytes.Equal(got.event, again.event) || got.source != again.source || len(got.pairs) != len(again.pairs) {
			t.Errorf("decode(append(decode(%x))) = %+v; want %+v", b, again, got)
		}
	})
}

func TestInternerIsBounded(t *testing.T) {
	var in interner
	for i := range 10 * internLimit {
		in.get([]byte{byte(i), byte(i >> 8), byte(i >> 16)})
	}
	if n := len(in.names); n > internLimit {
		t.Errorf("interner holds %d names; want at most %d", n, internLimit)
	}
}
