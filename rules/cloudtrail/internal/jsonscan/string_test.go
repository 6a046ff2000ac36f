package jsonscan

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"
)

func TestAppendCompact(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`{"a":1}`, `{"a":1}`},
		{" { \"a b\" :\t[ 1 ,\r\n2 ] , \"c\\\" \" : null } \n", `{"a b":[1,2],"c\" ":null}`},
		{`{"a":"\u003c\ud800<é"}`, `{"a":"\u003c\ud800<é"}`},
		{"{\"a\":\"\xff\xfe \xe2\x82\"}", "{\"a\":\"\uFFFD\uFFFD \uFFFD\uFFFD\"}"},
		{"1.50E+2", "1.50E+2"},
	} {
		if got := AppendCompact([]byte("x"), []byte(c.in)); !bytes.Equal(got, []byte("x"+c.want)) {
			t.Errorf("AppendCompact(x, %q) = %q; want x%s", c.in, got, c.want)
		}
	}
}

func FuzzCompact(f *testing.F) {
	for _, doc := range documents {
		f.Add([]byte(doc))
	}
	f.Add([]byte(" { \"a\xff\" : [ 1 ,\n2 ] } "))
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
		if err := json.Compact(&want, []byte(string([]rune(string(b))))); err != nil {
			t.Fatal(err)
		}
		if string(got) != want.String() {
			t.Errorf("AppendCompact(%q) = %q; want %q", b, got, &want)
		}
	})
}

// FuzzValue compares with encoding/json whether a value is valid, and where it ends.
func FuzzValue(f *testing.F) {
	for _, doc := range documents {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		i := Space(b, 0)
		for name, s := range predicting() {
			end := s.Value(b, i, true)
			if got, want := end >= 0 && Space(b, end) == len(b), json.Valid(b); got != want {
				t.Errorf("%s: %q is valid: %v; want %v", name, b, got, want)
			}
		}
	})
}

func BenchmarkAppendCompact(b *testing.B) {
	events := events(b)
	var dst []byte
	b.ReportAllocs()
	b.SetBytes(int64(len(events[0])))
	i := 0
	for b.Loop() {
		dst = AppendCompact(dst[:0], events[i%len(events)])
		i++
	}
}
