package consumer

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"trailhound/rules"
	"trailhound/state"
)

// entry encodes w as an entry of a work record.
func (w *work) entry() []byte { return append(w.appendHead(nil), w.event...) }

// record encodes w as the value of a work record that holds nothing else.
func (w *work) record() []byte { return recordOf(bundle{}, *w) }

// recordOf encodes the value of a work record.
func recordOf(b bundle, all ...work) []byte {
	for i := range all {
		b.add(all[i].appendHead(nil), all[i].event)
	}
	return bytes.Clone(b.record())
}

// worksOf decodes the entries in the value of a work record.
func worksOf(e entries, value []byte) ([]work, error) {
	defer e.close()
	if err := e.open(bytes.Clone(value)); err != nil {
		return nil, err
	}
	var all []work
	for e.more() {
		entry, err := e.next()
		if err != nil {
			return all, err
		}
		var w work
		if err := w.decode(bytes.Clone(entry), new(interner)); err != nil {
			return all, err
		}
		all = append(all, w)
	}
	return all, nil
}

func sampleWork() work {
	return work{
		source:     state.Source{Topic: "cloudtrail", TopicID: [16]byte{1, 2, 3}, Partition: 7, Epoch: 12, Offset: 1 << 40, Index: 3},
		recordTime: 1772359200123,
		pairs:      []rules.Match{{Rule: "access_denied", Key: "arn:aws:iam::111122223333:user/alice"}, {Rule: "own", Key: "\x00\xff"}},
		event:      []byte(`{"eventVersion":"1.10"}`),
	}
}

func TestWorkRoundTrip(t *testing.T) {
	for name, change := range map[string]func(*work){
		"full":            func(*work) {},
		"mark":            func(w *work) { w.pairs, w.event, w.newest, w.idle = []rules.Match{}, []byte{}, -5, true },
		"mark of no time": func(w *work) { w.pairs, w.event, w.newest = []rules.Match{}, []byte{}, noNewest },
		"instruction":     func(w *work) { *w = work{pairs: []rules.Match{}, rewind: 1 << 60} },
		"no timestamp":    func(w *work) { w.recordTime = -1 },
		"empty event":     func(w *work) { w.event = []byte{} },
		"first position":  func(w *work) { w.source.Partition, w.source.Offset, w.source.Index = 0, 0, 0 },
	} {
		t.Run(name, func(t *testing.T) {
			want := sampleWork()
			change(&want)
			got := sampleWork() // reused: nothing of the former record may stay
			if err := got.decode(want.entry(), new(interner)); err != nil {
				t.Fatalf("decode(entry(%+v)) = %v; want nil", want, err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("decode(entry(%+v)) = %+v; want the same", want, got)
			}
		})
	}
}

func TestWorkCutOff(t *testing.T) {
	w := sampleWork()
	whole := w.entry()
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
	f.Add(w.entry())
	f.Fuzz(func(t *testing.T, b []byte) {
		var got work
		if err := got.decode(b, new(interner)); err != nil {
			if !errors.Is(err, errWorkCorrupt) {
				t.Errorf("decode(%x) = %v; want errWorkCorrupt", b, err)
			}
			return
		}
		var again work
		if err := again.decode(got.entry(), new(interner)); err != nil {
			t.Fatalf("decode(entry(decode(%x))) = %v; want nil", b, err)
		}
		if got.newest != again.newest || got.idle != again.idle || got.rewind != again.rewind {
			t.Errorf("decode(entry(decode(%x))) = %+v; want %+v", b, again, got)
		}
		if !bytes.Equal(got.event, again.event) || got.source != again.source || len(got.pairs) != len(again.pairs) {
			t.Errorf("decode(entry(decode(%x))) = %+v; want %+v", b, again, got)
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
