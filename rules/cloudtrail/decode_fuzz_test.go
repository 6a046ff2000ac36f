package cloudtrail

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"testing"
	"testing/iotest"
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

// packed reports whether b may hold gzip or base64, which the reference cannot unpack.
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
	})
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
		deep := false // the envelopes around a list count for its elements only in one piece
		events := func(record []byte) (all []string) {
			Decode(record, func(e *Event, err error) bool {
				deep = deep || err != nil && err.(*DecodeError).Reason == ReasonTooDeep
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
			if !slices.Equal(got, want) && !deep {
				t.Errorf("events of the records of %q\n     = %q\nwant %q", b, got, want)
			}
		}
	})
}

// FuzzUnpack wraps a record in other layers, one for each of wraps: its events stay
// the same, unless the layers are too many, and with a limit the decoder unpacks no
// more than that.
func FuzzUnpack(f *testing.F) {
	for i, c := range envelopes {
		f.Add([]byte(c.record), []byte{byte(i), byte(i / 3), byte(i / 9)})
	}
	f.Add([]byte(repeat("\xff", 1000)), []byte{0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b, wraps []byte) {
		plain := string([]rune(string(b)))
		if len(plain) > 4<<10 || len(wraps) > maxEnvelopes+1 || packed([]byte(plain)) {
			return
		}
		record := plain
		for _, w := range wraps {
			switch w % 3 {
			case 0:
				text, err := json.Marshal(record)
				must(err)
				record = string(text)
			case 1:
				record = zipped(record)
			case 2:
				record = base64ed(zipped(record))
			}
			if packed := isGzip([]byte(record)); packed && len(wraps) > 1 {
				record = base64ed(record) // a string holds text
			}
		}
		d := Decoder{}
		events := func(record string) (all []string, deep bool) {
			for _, o := range outcomes(&d, []byte(record)) {
				if deep = deep || o.Reason == ReasonTooDeep; o.Reason == "" {
					all = append(all, o.Event)
				}
			}
			return all, deep
		}
		want, _ := events(plain)
		if got, deep := events(record); !deep && !slices.Equal(got, want) {
			t.Errorf("Decode(%q) in %v = %q; want %q", plain, wraps, got, want)
		}
		d = Decoder{MaxUnpacked: 1 << 10}
		outcomes(&d, []byte(record))
		for i, l := range d.layers {
			if int64(len(l)) > 2*d.MaxUnpacked {
				t.Errorf("Decode(%q) in %v unpacks layer %d to %d bytes; want at most %d", plain, wraps, i, len(l), d.MaxUnpacked)
			}
		}
		if d.record.held != 0 {
			t.Errorf("Decode(%q) in %v leaves %d bytes noted", plain, wraps, d.record.held)
		}
	})
}
