package jsonscan

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
	"pgregory.net/rapid"

	"trailhound/rules/cloudtrail/internal/jsontest"
)

// Fields of testMembers.
const (
	fieldName Field = iota + 1
	fieldID
	fieldCode
	fieldMessage
	fieldType
	fieldARN
	fieldInvokedBy
	fieldIssuerARN

	fieldParameters Field = FirstWhole + iota - 8
	fieldText

	fieldIdentity Field = FirstObject + iota - 10
	fieldSession
	fieldIssuer
)

var testMembers = Members{
	Match: func(level int, name []byte) Field {
		return []map[string]Field{
			{"eventName": fieldName, "eventID": fieldID, "errorCode": fieldCode, "errorMessage": fieldMessage, "requestParameters": fieldParameters, "userIdentity": fieldIdentity},
			{"type": fieldType, "arn": fieldARN, "invokedBy": fieldInvokedBy, "sessionContext": fieldSession},
			{"sessionIssuer": fieldIssuer},
			{"arn": fieldIssuerARN},
		}[level-1][string(name)]
	},
	Inside: [MaxObjects]FieldRange{{uint8(fieldType), 4}, {uint8(fieldIssuerARN), 1}, {uint8(fieldIssuerARN), 1}},
	Text:   fieldText,
}

var draw = jsontest.Generator{
	Names: []string{
		"eventName", "eventID", "errorCode", "errorMessage", "requestParameters", "userIdentity", "userIdentity", "userIdentity", "type", "arn", "arn", "invokedBy",
		"sessionContext", "sessionContext", "sessionIssuer", "sessionIssuer", "", "x", "é",
	},
	Strings: []string{"", "a", "arn:aws:iam::111122223333:user/alice", "123456789", "junk \"\\\n", "é😀", "\x7f"},
}

// documents are some of many shapes.
var documents = []string{
	`{"eventName":"n","eventID":"i","userIdentity":{"type":"T","arn":"A","sessionContext":{"sessionIssuer":{"arn":"B"}}},"requestParameters":{"k":[1,2.5,true,null]}}`,
	`{"userIdentity":"{\"arn\":\"A\"}","errorCode":"e\u0041","errorMessage":null}`,
	`[{"eventName":"a"},{"eventName":"b"}]`, `{"requestParameters":"x","eventName":{"a":[]}}`, `"text"`, `-1.5e+3`, `[[[[]]],{}]`,
}

// events returns the events of the benchmarks.
func events(tb testing.TB) [][]byte {
	tb.Helper()
	f, err := os.Open("../../testdata/bench/events.jsonl.gz")
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		tb.Fatal(err)
	}
	return bytes.Split(bytes.TrimSpace(b), []byte("\n"))
}

// scanned is all that a scan says of a value.
type scanned struct {
	end    int
	at     int
	deep   bool
	Fields [NumFields]Span
}

// scan returns the scanner's results for the value at b[i], and whether it reports an
// escape or a byte above 0x7f.
func (s *Scanner) scan(b []byte, i int, note bool) (scanned, bool) {
	got := scanned{end: s.Value(b, i, note)}
	if got.end < 0 {
		got.at, got.deep = s.At, s.TooDeep
	} else if note {
		got.Fields = s.Fields
		got.Fields[None] = Span{}
	}
	return got, s.Escaped
}

// predicting are scanners with predictors: as this processor scans, and as all do.
func predicting() map[string]*Scanner {
	portable := NewPredictor(&testMembers, MaxNodes)
	portable.useAVX2 = false
	return map[string]*Scanner{"avx2": {Members: &testMembers, Predictor: NewPredictor(&testMembers, MaxNodes)}, "portable": {Members: &testMembers, Predictor: portable}}
}

// agree scans the value with each of the scanners and compares their answers
// with the answer of a scanner that predicts nothing.
func agree(t interface{ Fatalf(string, ...any) }, scanners map[string]*Scanner, b []byte, i int, note bool) {
	unpredicted := Scanner{Members: &testMembers}
	want, mixed := unpredicted.scan(b, i, note)
	for name, s := range scanners {
		got, gotMixed := s.scan(b, i, note)
		if got != want {
			t.Fatalf("%s scan of %q from %d on, noting %v,\n     = %+v\nwant %+v", name, b, i, note, got, want)
		}
		if want.end >= 0 && mixed && !gotMixed {
			t.Fatalf("%s scan of %q from %d on does not see the escape, or the byte above 0x7f", name, b, i)
		}
	}
}

// TestPredictor scans documents of a few shapes again and again, with other values, whole
// and damaged: documents scanned before must never show in a result.
func TestPredictor(t *testing.T) {
	scanners := predicting()
	rapid.Check(t, func(t *rapid.T) {
		var shapes []string
		for range rapid.IntRange(1, 3).Draw(t, "shapes") {
			shapes = append(shapes, draw.Object(t, 5))
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
			before := strings.Repeat(" ", rapid.IntRange(0, 1).Draw(t, "before"))
			behind := strings.Repeat(`{"a":1}`, rapid.IntRange(0, 8).Draw(t, "behind"))
			agree(t, scanners, slices.Concat([]byte(before), b, []byte(behind)), len(before), rapid.IntRange(0, 2).Draw(t, "note") > 0)
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
	var s Scanner
	end := s.Value(b, start, false)
	if end < 0 {
		return b
	}
	value := rapid.OneOf(
		rapid.Just(`"`+strings.Repeat("v", rapid.IntRange(0, 100).Draw(t, "length"))+`"`),
		rapid.SampledFrom([]string{"null", "true", "false", "nul", "falsy", "0", "-1", "12345678901234567890", "01", "1.5e-3", "2E", "7.", "{}", "[]", "[{}]", `""`, `"\""`, `"é"`}),
	).Draw(t, "value")
	return slices.Concat(b[:start], []byte(value), b[end:])
}

// FuzzPredictor scans two documents in turn: the training by one must not show in the
// results of the other.
func FuzzPredictor(f *testing.F) {
	events := events(f)[:4]
	for i, doc := range documents {
		f.Add([]byte(doc), events[i%len(events)])
		f.Add([]byte(doc), []byte(doc+" "))
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		if len(a) == 0 || len(b) == 0 {
			return
		}
		scanners := predicting()
		for _, doc := range [][]byte{a, b, a, b} {
			agree(t, scanners, doc, 0, true)
			agree(t, scanners, doc, 0, false)
		}
	})
}

// TestPredictorSkips has documents that begin alike and go on differently: a step by the
// first would lead past a part of the second.
func TestPredictorSkips(t *testing.T) {
	pad := `,"padding":"` + strings.Repeat("p", 64) + `"}`
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
			scanners := predicting()
			for _, doc := range []string{c.first, c.first, c.second, c.first, c.second, c.second} {
				agree(t, scanners, []byte(doc), 0, true)
			}
		})
	}
}

// TestPredictorUnknownNames: names that are not remembered for want of room must
// not be stepped over when they have a meaning.
func TestPredictorUnknownNames(t *testing.T) {
	scanners := predicting()
	for i := range 2 * MaxNodes {
		agree(t, scanners, fmt.Appendf(nil, `{"n%d":{"x":"y"},"eventName":"n"}`, i), 0, true)
	}
	for name, s := range scanners {
		if s.Predictor.used != MaxNodes {
			t.Errorf("%s: %d nodes in use; want all %d", name, s.Predictor.used, MaxNodes)
		}
	}
	doc := `{"eventName":"n","userIdentity":{"arn":"a"},"userIdentity":{},"x":{"y":"z"},"errorCode":"e","errorCode":{},"p":"` + strings.Repeat("p", 64) + `"}`
	for range resetAfter + 2 {
		agree(t, scanners, []byte(doc), 0, true)
	}
	for name, s := range scanners {
		if s.Predictor.used == MaxNodes {
			t.Errorf("%s: memory is still full after %d more documents", name, resetAfter+2)
		}
	}
}

// TestPredictorCollisions: names can be made that fall into one slot of the hash
// table; looking one up must not cost more the more of them there are.
func TestPredictorCollisions(t *testing.T) {
	f := NewPredictor(&testMembers, MaxNodes)
	in := f.bracket(root, container{depth: 1, level: levelTop, kinds: 1})
	known := 0
	for i, found := 0, 0; found < 4*maxProbes; i++ {
		name := fmt.Appendf(nil, "n%d", i)
		if (xxhash.Sum64(name)+uint64(in))%maxSlots != 7 {
			continue
		}
		found++
		if f.member(in, name) != noNode {
			known++
		}
	}
	if known != maxProbes {
		t.Errorf("%d names that fall into one slot are remembered; want %d", known, maxProbes)
	}
}

// TestPredictorLongNames: a name that is too long for the memory does not fill it.
func TestPredictorLongNames(t *testing.T) {
	scanners := predicting()
	doc := fmt.Appendf(nil, `{"%s":"x","eventName":"n"}`, strings.Repeat("n", maxName+1))
	agree(t, scanners, doc, 0, true)
	for name, s := range scanners {
		used := s.Predictor.used
		s.Value(doc, 0, true)
		if s.Predictor.used != used {
			t.Errorf("%s: a document takes %d more nodes when it comes again", name, s.Predictor.used-used)
		}
	}
}

// TestPredictorDeep: places are remembered to a certain depth only; values that lie deeper,
// and bytes behind them, are read all the same.
func TestPredictorDeep(t *testing.T) {
	scanners := predicting()
	for _, depth := range []int{maxPredictedDepth - 2, maxPredictedDepth - 1, maxPredictedDepth, maxPredictedDepth + 1, 63, 64, 65, 130} {
		for gap := range depth { // where the brackets are not closed as predicted
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
				agree(t, scanners, []byte(doc), 0, true)
				agree(t, scanners, []byte(doc[:len(doc)-1]), 0, true)
			}
		}
	}
}

// TestPredictorLong scans documents that are longer than the input of one advance, with
// strings and lists across that bound.
func TestPredictorLong(t *testing.T) {
	scanners := predicting()
	list := `"eventName":"n","list":["` + strings.Repeat(`x","y`, maxAdvance/2) + `"],"errorCode":"e"`
	text := `"errorMessage":"` + strings.Repeat("m", 2*maxAdvance) + `","requestParameters":{"k":"v"},"eventName":"n"`
	for _, doc := range []string{`{` + list + `}`, `{` + text + `}`, `{"requestParameters":{` + list + `},` + text + `}`, `{` + list + `x}`, `{` + text + "\x01}"} {
		for range 3 {
			agree(t, scanners, []byte(doc), 0, true)
		}
	}
}

// BenchmarkScan scans events that are alike without a predictor, and with one in both ways.
func BenchmarkScan(b *testing.B) {
	events := events(b)
	scanners := map[string]*Scanner{"unpredicted": {Members: &testMembers}}
	maps.Copy(scanners, predicting())
	for _, name := range slices.Sorted(maps.Keys(scanners)) {
		s := scanners[name]
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(events[0])))
			for _, e := range events {
				s.Value(e, 0, true) // allocates the memory that it keeps
			}
			i := 0
			for b.Loop() {
				s.Value(events[i%len(events)], 0, true)
				i++
			}
		})
	}
}
