package main

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestPrintable(t *testing.T) {
	for s, want := range map[string]string{
		"plain text":             "plain text",
		"käse ≤ 字 😀":             "käse ≤ 字 😀",
		"\x1b[31mred":            `\x1b[31mred`,
		"a\nb\tc\rd\x00":         `a\nb\tc\rd\x00`,
		"c1 \u009b2J":            `c1 \u009b2J`,
		"raw \x9b2J":             `raw \x9b2J`,
		"\u202egpj.exe":          `\u202egpj.exe`,
		"zero\u200bwidth\ufeff":  `zero\u200bwidth\ufeff`,
		"del\x7f":                `del\x7f`,
		"line\u2028break":        `line\u2028break`,
		"tag \U000e0041":         `tag \U000e0041`,
		"replacement \ufffd":     "replacement \ufffd",
		"quote ' and \" and \\n": "quote ' and \" and \\n",
	} {
		if got := printable(s); got != want {
			t.Errorf("printable(%q) = %q; want %q", s, got, want)
		}
	}
}

func TestPrintableJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := map[string]string{rapid.String().Draw(t, "name"): rapid.String().Draw(t, "value")}
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		out := printableJSON(nil, text)
		for i := 0; i < len(out); {
			r, size := utf8.DecodeRune(out[i:])
			if !shown(r) {
				t.Fatalf("printableJSON(%q) = %q; want no %U in it", text, out, r)
			}
			i += size
		}
		var got map[string]string
		if err := json.Unmarshal(out, &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("printableJSON(%q) = %q, which means %q, %v; want the same value", text, out, got, err)
		}
	})
	if got, want := string(printableJSON(nil, []byte("\"\u009b\U000e0041\x7f\u202e\""))), `"\u009b\udb40\udc41\u007f\u202e"`; got != want {
		t.Errorf("printableJSON = %s; want %s", got, want)
	}
}

// Characters that are not shown never get through, and no more of a long value than a
// person reads.
func FuzzPrintable(f *testing.F) {
	for _, s := range []string{"", "plain", "\x1b[2J", "\u202e\u200b", "\xff\xc3", "\U000e0041", strings.Repeat("字", 300), strings.Repeat("x", shownBytes-1) + "\xe5\xad\x97"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, out := range []string{printable(s), brief(s)} {
			for _, r := range out {
				if !shown(r) && r != utf8.RuneError || !utf8.ValidString(out) {
					t.Fatalf("%q comes out as %q; want no %U in it", s, out, r)
				}
			}
		}
		// The longest escape of a byte takes four bytes, and of a rune of three bytes six.
		if out := brief(s); len(out) > 4*shownBytes+len("…") {
			t.Fatalf("brief of %d bytes has %d; want at most %d", len(s), len(out), 4*shownBytes)
		}
		if len(s) <= shownBytes && brief(s) != printable(s) {
			t.Fatalf("brief(%q) = %q; want all of it", s, brief(s))
		}
	})
}
