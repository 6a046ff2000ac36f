package cloudtrail

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// details decodes a record and returns its outcomes, and how often the turn was taken.
func details(d *Decoder, record []byte) []string {
	var all []string
	d.Decode(record, func(e *Event, err error) bool {
		if err != nil {
			all = append(all, fmt.Sprintf("%d %v", err.(*DecodeError).Index, err))
		} else {
			all = append(all, fmt.Sprintf("%d %s", e.At.Index, dump(e, e.requestParameters, e.Raw)))
		}
		return true
	})
	return all
}

// A decoder tells the same of a record for any part of it in memory at a time: the content
// of gzip is read through windows of any size.
func TestDecodeWindows(t *testing.T) {
	whole, tiny, odd := Decoder{Scratch: 64 << 20}, Decoder{Scratch: 1}, Decoder{Scratch: 3000}
	rapid.Check(t, func(t *rapid.T) {
		record := drawPacked(t)
		limit := rapid.SampledFrom([]int64{0, 0, 0, 20, 100, 300, 1000, 5000}).Draw(t, "limit")
		held := rapid.SampledFrom([]int64{0, 0, 20, 100, 300, 1000}).Draw(t, "held")
		whole.MaxUnpacked, whole.MaxHeld = limit, held
		want := details(&whole, record)
		for _, d := range []*Decoder{&tiny, &odd} {
			d.MaxUnpacked, d.MaxHeld = limit, held
			if got := details(d, record); !slices.Equal(got, want) {
				t.Fatalf("with scratch of %d and limits of %d and %d, Decode(%q)\n     = %q\nwant %q", d.Scratch, limit, held, record, got, want)
			}
		}
	})
}

// drawPacked draws a record with packed ones in it.
func drawPacked(t *rapid.T) []byte {
	record := string(drawRecord(t))
	for range rapid.IntRange(1, 5).Draw(t, "layers") {
		var b strings.Builder
		for n := range rapid.IntRange(1, 3).Draw(t, "values") {
			part := record
			switch rapid.IntRange(0, 8).Draw(t, "packing") {
			case 0:
				part = bare(fmt.Sprint("id-", n))
			case 1:
				part = string(drawRecord(t))
			case 2, 3:
				part = base64ed(zipped(record))
			case 4:
				text, err := json.Marshal(record)
				must(err)
				part = string(text)
			case 5:
				part = `{"Records":[` + part + "," + bare("in a list") + `],"x":` + draw.Value(t, 2) + "}"
			case 6:
				part = base64ed(zipped(repeat(" \n", rapid.IntRange(0, 200).Draw(t, "padding")) + part + zipped(part)))
			}
			b.WriteString(part + rapid.SampledFrom([]string{"\n", " ", ""}).Draw(t, "separator"))
		}
		if record = b.String(); len(record) > 100<<10 {
			break
		}
	}
	packed := []byte(zipped(record))
	switch rapid.IntRange(0, 9).Draw(t, "outside") {
	case 0:
		packed = []byte(zipped(string(packed)))
	case 1:
		packed = packed[:rapid.IntRange(0, len(packed)).Draw(t, "cut")]
	case 2:
		packed[rapid.IntRange(10, len(packed)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
	case 3:
		cut := packed[:rapid.IntRange(0, len(packed)).Draw(t, "cut inside")]
		packed = []byte(zipped(string(cut)))
	case 4:
		packed = append(packed, zipped("\n"+string(drawRecord(t)))...)
	case 5:
		packed = []byte(record)
	}
	return packed
}

// A record in gzip gives the same outcomes as the record outside.
func TestDecodeInGzip(t *testing.T) {
	plain, tiny := Decoder{}, Decoder{Scratch: 1}
	rapid.Check(t, func(t *rapid.T) {
		record := drawRecord(t)
		if got, want := details(&tiny, []byte(zipped(string(record)))), details(&plain, record); !slices.Equal(got, want) {
			t.Fatalf("Decode(gzip of %q)\n     = %q\nwant %q", record, got, want)
		}
	})
}

func FuzzWindows(f *testing.F) {
	for _, c := range slices.Concat(envelopes, poison) {
		f.Add([]byte(c.record), uint8(0), int64(0))
		f.Add([]byte(zipped(c.record)), uint8(7), int64(200))
	}
	f.Fuzz(func(t *testing.T, b []byte, scratch uint8, limit int64) {
		if b == nil {
			return
		}
		limit &= 1<<24 - 1
		whole := Decoder{Scratch: 64 << 20, MaxUnpacked: limit, MaxHeld: limit / 3}
		small := Decoder{Scratch: 1 + int(scratch), MaxUnpacked: limit, MaxHeld: limit / 3}
		for _, record := range []string{string(b), zipped(string(b))} {
			got, want := details(&small, []byte(record)), details(&whole, []byte(record))
			if !slices.Equal(got, want) {
				t.Errorf("with little scratch, Decode(%q)\n     = %q\nwant %q", record, got, want)
			}
		}
	})
}
