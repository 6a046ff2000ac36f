package rules

import (
	"fmt"
	"slices"
	"testing"

	"github.com/cespare/xxhash/v2"
	"pgregory.net/rapid"
)

// scanned is all that a scan says of a value.
type scanned struct {
	end    int
	at     int
	deep   bool
	fields [numFields]span
}

// scan returns what s says of the value at b[i], and whether it says that there
// is an escape or a byte above 0x7f.
func (s *scanner) scan(b []byte, i, level int) (scanned, bool) {
	got := scanned{end: s.value(b, i, level)}
	if got.end < 0 {
		got.at, got.deep = s.at, s.deep
	} else if level != 0 {
		got.fields = s.fields
		got.fields[none] = span{}
	}
	return got, s.mixed
}

// foreseers are scanners that learn: as this processor reads, and as all do.
func foreseers() map[string]*scanner {
	plain := newForesight(maxPlaces)
	plain.quick = false
	return map[string]*scanner{"quick": {seen: newForesight(maxPlaces)}, "plain": {seen: plain}}
}

// agree scans the value with each of the scanners and compares what they say
// with what a scanner says that foresees nothing.
func agree(t interface{ Fatalf(string, ...any) }, scanners map[string]*scanner, b []byte, i, level int) {
	var blind scanner
	want, mixed := blind.scan(b, i, level)
	for name, s := range scanners {
		got, gotMixed := s.scan(b, i, level)
		if got != want {
			t.Fatalf("%s scan of %q from %d on, level %d,\n     = %+v\nwant %+v", name, b, i, level, got, want)
		}
		if want.end >= 0 && mixed && !gotMixed {
			t.Fatalf("%s scan of %q from %d on does not see the escape, or the byte above 0x7f", name, b, i)
		}
	}
}

// TestForesight scans documents of a few shapes again and again, with other
// values, whole and damaged: what a scanner has seen before must never show in
// what it says.
func TestForesight(t *testing.T) {
	scanners := foreseers()
	rapid.Check(t, func(t *rapid.T) {
		var shapes []string
		for range rapid.IntRange(1, 3).Draw(t, "shapes") {
			shapes = append(shapes, drawObject(t, 5))
		}
		for range rapid.IntRange(1, 12).Draw(t, "documents") {
			b := []byte(rapid.SampledFrom(shapes).Draw(t, "shape"))
			for range rapid.IntRange(0, 3).Draw(t, "changes") {
				at := rapid.IntRange(0, len(b)-1).Draw(t, "at")
				switch rapid.IntRange(0, 6).Draw(t, "change") {
				case 0: // another byte
					b[at] = rapid.SampledFrom([]byte("\"\\{}[]:, \n0-e.tnx\x00\xff")).Draw(t, "byte")
				case 1: // cut off
					b = b[:at+1]
				case 2: // a byte less
					b = slices.Delete(b, at, at+1)
				default: // another value
					b = revalue(t, b, at)
				}
				if len(b) == 0 {
					break
				}
			}
			before := repeat(" ", rapid.IntRange(0, 1).Draw(t, "before"))
			behind := repeat(`{"a":1}`, rapid.IntRange(0, 8).Draw(t, "behind"))
			agree(t, scanners, slices.Concat([]byte(before), b, []byte(behind)), len(before), rapid.SampledFrom([]int{levelTop, levelTop, 0}).Draw(t, "level"))
		}
	})
}

// revalue puts another value in the place of the string or number next to b[at].
func revalue(t *rapid.T, b []byte, at int) []byte {
	colon := slices.Index(b[at:], ':')
	if colon < 0 || at+colon+1 == len(b) {
		return b
	}
	start := at + colon + 1
	var s scanner
	end := s.value(b, start, 0)
	if end < 0 {
		return b
	}
	value := rapid.OneOf(
		rapid.Just(`"`+repeat("v", rapid.IntRange(0, 100).Draw(t, "length"))+`"`),
		rapid.SampledFrom([]string{"null", "true", "false", "nul", "falsy", "0", "-1", "12345678901234567890", "01", "1.5e-3", "2E", "7.", "{}", "[]", "[{}]", `""`, `"\""`, `"é"`}),
	).Draw(t, "value")
	return slices.Concat(b[:start], []byte(value), b[end:])
}

// FuzzForesight scans two documents in turn: whatever the one taught must not
// show in what is said of the other.
func FuzzForesight(f *testing.F) {
	events := lines(f, "testdata/bench/events.jsonl.gz")[:4]
	for i, c := range envelopes {
		f.Add([]byte(c.record), events[i%len(events)])
		f.Add([]byte(c.record), []byte(c.record+" "))
	}
	for _, c := range fieldCases {
		f.Add([]byte(c.event), events[0])
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		if len(a) == 0 || len(b) == 0 {
			return
		}
		scanners := foreseers()
		for _, doc := range [][]byte{a, b, a, b} {
			agree(t, scanners, doc, 0, levelTop)
			agree(t, scanners, doc, 0, 0)
		}
	})
}

// TestForesightSkips are steps that would lead past something: the second
// document tells another story than the first although it begins like it.
func TestForesightSkips(t *testing.T) {
	pad := `,"padding":"` + repeat("p", 64) + `"}`
	for _, c := range []struct{ name, first, second string }{
		{"an empty array where an element was", `{"a":[1],"b":2` + pad, `{"a":[],"b":2` + pad},
		{"space in it", `{"a":[ 1 ],"b":2` + pad, `{"a":[ ],"b":2` + pad},
		{"an empty array where a string was", `{"a":["x"],"b":2` + pad, `{"a":[],"b":2` + pad},
		{"a comma too many", `{"a":["x","y"],"b":2` + pad, `{"a":["x",],"b":2` + pad},
		{"an object where a string was", `{"requestParameters":"x","eventName":"y"` + pad, `{"requestParameters":{},"eventName":"y"` + pad},
		{"a string where an object was", `{"requestParameters":{"k":"v"},"eventName":"y"` + pad, `{"requestParameters":"x","eventName":"y"` + pad},
		{"the same member twice", `{"eventName":"x","eventID":"i"` + pad, `{"eventName":"x","eventName":null,"eventID":"i"` + pad},
		{"an object twice, the second without members", `{"userIdentity":{"type":"T","arn":"A"},"eventID":"i"` + pad,
			`{"userIdentity":{"type":"T","arn":"A"},"userIdentity":{"type":7},"eventID":"i"` + pad},
		{"brackets of the other kind", `{"a":[{"b":"c"}],"d":"e"` + pad, `{"a":[{"b":"c"]},"d":"e"` + pad},
		{"a number that goes on", `{"a":1,"b":"c"` + pad, `{"a":1x,"b":"c"` + pad},
		{"a word that goes on", `{"a":null,"b":"c"` + pad, `{"a":nullx,"b":"c"` + pad},
		{"an empty array of objects ends the array around it", `{"a":[[{}],"x"],"userIdentity":{"arn":"A"}` + pad, `{"a":[[],"x"],"userIdentity":{"arn":"A"}` + pad},
		{"a fraction", `{"s":"t","a":1,"b":"c"` + pad, `{"s":"t","a":1.5,"b":"c"` + pad},
		{"an exponent", `{"s":"t","a":1,"b":"c"` + pad, `{"s":"t","a":1e1,"b":"c"` + pad},
		{"a large exponent", `{"s":"t","a":1,"b":"c"` + pad, `{"s":"t","a":1E1,"b":"c"` + pad},
		{"a zero in front", `{"s":"t","a":1,"b":"c"` + pad, `{"s":"t","a":01,"b":"c"` + pad},
		{"a zero and a fraction", `{"s":"t","a":0,"b":"c"` + pad, `{"s":"t","a":0.5,"b":"c"` + pad},
		{"a word that ends in another way", `{"s":"t","a":false,"b":"c"` + pad, `{"s":"t","a":falsx,"b":"c"` + pad},
		{"an identity twice, as before", `{"s":"t","userIdentity":{"invokedBy":"i","sessionContext":{"sessionIssuer":{"arn":"A"}}},"userIdentity":{"type":"T"},"eventID":"i"` + pad,
			`{"s":"t","userIdentity":{"invokedBy":"j","sessionContext":{"sessionIssuer":{"arn":"B"}}},"userIdentity":{"type":"T"},"eventID":"i"` + pad},
		{"an issuer twice, as before", `{"userIdentity":{"type":"T","sessionContext":{"sessionIssuer":{"arn":"A"},"sessionIssuer":{"x":"y"}}},"eventID":"i"` + pad,
			`{"userIdentity":{"type":"T","sessionContext":{"sessionIssuer":{"arn":"B"},"sessionIssuer":{"x":"z"}}},"eventID":"i"` + pad},
		{"a name twice, the second behind parameters", `{"eventName":"n","requestParameters":{"k":"v"},"eventName":7,"eventID":"i"` + pad,
			`{"eventName":"m","requestParameters":{"k":"w"},"eventName":7,"eventID":"i"` + pad},
		{"another last member in what ends with the parameters", `{"requestParameters":{"c":{"k":"v"}},"eventName":"n"` + pad,
			`{"requestParameters":{"c":{"k":"v","new":"w"}},"eventName":"n"` + pad},
	} {
		t.Run(c.name, func(t *testing.T) {
			scanners := foreseers()
			for _, doc := range []string{c.first, c.first, c.second, c.first, c.second, c.second} {
				agree(t, scanners, []byte(doc), 0, levelTop)
			}
		})
	}
}

// TestForesightUnknownNames: names that are not remembered for want of room must
// not be stepped over when they have a meaning.
func TestForesightUnknownNames(t *testing.T) {
	scanners := foreseers()
	for i := range 2 * maxPlaces {
		agree(t, scanners, fmt.Appendf(nil, `{"n%d":{"x":"y"},"eventName":"n"}`, i), 0, levelTop)
	}
	for name, s := range scanners {
		if s.seen.used != maxPlaces {
			t.Errorf("%s: %d places in use; want all %d", name, s.seen.used, maxPlaces)
		}
	}
	doc := `{"eventName":"n","userIdentity":{"arn":"a"},"userIdentity":{},"x":{"y":"z"},"errorCode":"e","errorCode":{},"p":"` + repeat("p", 64) + `"}`
	for range forgetAfter + 2 {
		agree(t, scanners, []byte(doc), 0, levelTop)
	}
	for name, s := range scanners {
		if s.seen.used == maxPlaces {
			t.Errorf("%s: memory is still full after %d more documents", name, forgetAfter+2)
		}
	}
}

// TestForesightCollisions: names can be made that fall into one slot of the hash
// table; looking one up must not cost more the more of them there are.
func TestForesightCollisions(t *testing.T) {
	f := newForesight(maxPlaces)
	in := f.bracket(root, 1, levelTop, 1, none)
	known := 0
	for i, found := 0, 0; found < 4*maxProbes; i++ {
		name := fmt.Appendf(nil, "n%d", i)
		if (xxhash.Sum64(name)+uint64(in))%maxSlots != 7 {
			continue
		}
		found++
		if f.member(in, name) != unknown {
			known++
		}
	}
	if known != maxProbes {
		t.Errorf("%d names that fall into one slot are remembered; want %d", known, maxProbes)
	}
}

// TestForesightLongNames: a name that is too long for the memory does not fill it.
func TestForesightLongNames(t *testing.T) {
	scanners := foreseers()
	doc := fmt.Appendf(nil, `{"%s":"x","eventName":"n"}`, repeat("n", maxName+1))
	agree(t, scanners, doc, 0, levelTop)
	for name, s := range scanners {
		used := s.seen.used
		s.value(doc, 0, levelTop)
		if s.seen.used != used {
			t.Errorf("%s: a document takes %d more places when it comes again", name, s.seen.used-used)
		}
	}
}

// TestForesightDeep: places are remembered to a certain depth only; what lies
// deeper, and what comes behind it, is read all the same.
func TestForesightDeep(t *testing.T) {
	scanners := foreseers()
	for _, depth := range []int{maxKnown - 2, maxKnown - 1, maxKnown, maxKnown + 1, 63, 64, 65, 130} {
		for gap := range depth { // where the brackets are not closed as foreseen
			doc := `"x"`
			for i := range depth { // brackets in no order that repeats every 64
				if i == gap {
					doc += " "
				}
				if i%5 < 2 {
					doc = `[` + doc + `,"y"]`
				} else {
					doc = `{"a":` + doc + `,"b":"c"}`
				}
			}
			doc = `{"eventName":"n","r":` + doc + `,"requestParameters":{"k":[` + doc + `]},"errorCode":"e"}`
			for range 2 {
				agree(t, scanners, []byte(doc), 0, levelTop)
				agree(t, scanners, []byte(doc[:len(doc)-1]), 0, levelTop)
			}
		}
	}
}

// TestForesightHelps: without it, events that are alike take much longer. This is
// all that foresight is for, and nothing but the time shows that it works.
func TestForesightHelps(t *testing.T) {
	if testing.Short() {
		t.Skip("measures time")
	}
	events := lines(t, "testdata/bench/events.jsonl.gz")
	scanAll := func(s *scanner) float64 {
		return elapsed(func() {
			for range 20 {
				for _, e := range events {
					s.value(e, 0, levelTop)
				}
			}
		}).Seconds()
	}
	for name, s := range foreseers() {
		least := 1.1
		if s.seen.quick {
			least = 1.5
		}
		var ratios []float64
		for range 9 {
			ratios = append(ratios, scanAll(new(scanner))/scanAll(s))
		}
		slices.Sort(ratios)
		if got := ratios[len(ratios)/2]; got < least {
			t.Errorf("%s: reading without foresight takes %.2f times as long; want at least %.1f", name, got, least)
		}
	}
}

// TestForesightLong scans documents that are longer than what follow is given at a
// time, with strings and lists across that bound.
func TestForesightLong(t *testing.T) {
	scanners := foreseers()
	list := `"eventName":"n","list":["` + repeat(`x","y`, maxFollow/2) + `"],"errorCode":"e"`
	text := `"errorMessage":"` + repeat("m", 2*maxFollow) + `","requestParameters":{"k":"v"},"eventName":"n"`
	for _, doc := range []string{`{` + list + `}`, `{` + text + `}`, `{"requestParameters":{` + list + `},` + text + `}`, `{` + list + `x}`, `{` + text + "\x01}"} {
		for range 3 {
			agree(t, scanners, []byte(doc), 0, levelTop)
		}
	}
}

// TestDecodeLimitIsOfWhatIsUnpacked: a string that is taken as it stands does not count
// towards MaxHeld. It once did when a byte above 0x7f stood shortly behind some
// string, and how far the scan looks depends on the documents before and on the
// processor: the same event was refused by one instance and accepted by another.
func TestDecodeLimitIsOfWhatIsUnpacked(t *testing.T) {
	warm := Decoder{MaxHeld: 1 << 10}
	for i := range maxPlaces {
		warm.Decode(fmt.Appendf(nil, `{"n%d":{"x":"y"}}`, i), func(*Event, error) bool { return true })
	}
	for behind := range 40 {
		event := `{"eventVersion":"1","eventTime":"2024-01-01T00:00:00Z","eventSource":"s","eventName":"` + repeat("n", 500<<10) +
			`","` + repeat("k", behind) + `":1,"é":1,"pad":"` + repeat("p", 64) + `"}`
		for name, d := range map[string]*Decoder{"fresh": {MaxHeld: 1 << 10}, "warm": &warm} {
			d.Decode([]byte(event), func(_ *Event, err error) bool {
				if err != nil {
					t.Errorf("%s decoder, é %d bytes behind: %v; want the event", name, behind, err)
				}
				return true
			})
		}
	}
}
