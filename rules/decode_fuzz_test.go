package rules

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"testing"
	"testing/iotest"
	"unicode/utf8"
)

// seed adds every kind of record that the tests know.
func seed(f *testing.F) {
	for _, c := range envelopes {
		f.Add([]byte(c.record))
	}
	for _, c := range poison {
		f.Add([]byte(c.record))
	}
	for _, c := range fieldCases {
		f.Add([]byte(c.event))
	}
	for _, b := range lines(f, "testdata/bench/events.jsonl.gz")[:4] {
		f.Add(b)
	}
}

// packed reports whether b may hold what the reference cannot unpack.
func packed(b []byte) bool {
	return bytes.Contains(b, []byte(packedMagic)) || bytes.Contains(b, []byte{0x1f, 0x8b}) || bytes.Contains(b, []byte(`\u001f`))
}

func FuzzDecode(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if packed(b) || b == nil {
			var d Decoder
			outcomes(&d, b) // must return
			return
		}
		var d Decoder
		got, want := outcomes(&d, b), referenceOutcomes(b)
		for i := range got {
			if got[i].Reason == ReasonCutOff {
				got[i].Reason = ReasonNotJSON
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("Decode(%q)\n     = %v\nwant %v", b, got, want)
		}
		if got, want := d.scan.valid(b), json.Valid(b); got != want {
			t.Errorf("valid(%q) = %v; want %v", b, got, want)
		}
	})
}

// valid reports whether b is one JSON value.
func (s *scanner) valid(b []byte) bool {
	end := s.value(b, 0, 0)
	return end >= 0 && space(b, end) == len(b)
}

func FuzzTime(f *testing.F) {
	for _, c := range timeCases {
		f.Add(c.in)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := parseTime(s)
		want, wantOK := referenceTime(s)
		if ok != wantOK || !got.Equal(want) {
			t.Errorf("parseTime(%q) = %v, %v; want %v, %v", s, got, ok, want, wantOK)
		}
	})
}

// FuzzSplitter compares the events of the records of a file with those of the
// file as a whole.
func FuzzSplitter(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if bytes.Contains(b, []byte{0x1f, 0x8b}) {
			return // gzip is unpacked before it comes to a Splitter
		}
		events := func(record []byte) (all []string) {
			Decode(record, func(e *Event, err error) bool {
				switch {
				case err == nil:
					all = append(all, string(e.Raw))
				case err.(*DecodeError).Reason != ReasonEmpty:
					all = append(all, "error")
				}
				return true
			})
			return all
		}
		want := events(b)
		for _, r := range []io.Reader{bytes.NewReader(b), iotest.OneByteReader(bytes.NewReader(b)), iotest.DataErrReader(bytes.NewReader(b))} {
			var got []string
			for _, record := range split(t, &Splitter{Reader: r}) {
				got = append(got, events([]byte(record))...)
			}
			if !slices.Equal(got, want) {
				t.Errorf("events of the records of %q\n     = %q\nwant %q", b, got, want)
			}
		}
	})
}

func FuzzCompact(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		got := AppendCompact([]byte("x"), b)
		if !utf8.Valid(got) {
			t.Errorf("AppendCompact(%q) = %q; want valid UTF-8", b, got)
		}
		if !json.Valid(b) {
			return
		}
		var want bytes.Buffer
		want.WriteByte('x')
		must(json.Compact(&want, []byte(string([]rune(string(b))))))
		if string(got) != want.String() {
			t.Errorf("AppendCompact(%q) = %q; want %q", b, got, &want)
		}
	})
}
