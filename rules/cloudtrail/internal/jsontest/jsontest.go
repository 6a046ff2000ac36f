// Package jsontest draws JSON for the tests of its readers.
package jsontest

import (
	"encoding/json"
	"strings"

	"pgregory.net/rapid"
)

// Generator draws JSON of these words.
type Generator struct {
	Names   []string // of members
	Strings []string
}

var rawStrings = []string{`"\ud800"`, `"\ud83d\ude00"`, "\"\xff\"", "\"\xe2\x82\"", `"\u0041\/\b"`, `"\ud800\ud800\udc00"`, `"1234567\n"`}

// Object draws an object that nests at most so deep.
func (g *Generator) Object(t *rapid.T, depth int) string {
	var b strings.Builder
	b.WriteString("{")
	for n := range rapid.IntRange(0, 6).Draw(t, "members") {
		if n > 0 {
			b.WriteString("," + Space(t))
		}
		b.WriteString(g.name(t) + Space(t) + ":" + Space(t) + g.Value(t, depth-1) + Space(t))
	}
	return b.String() + "}"
}

func (g *Generator) name(t *rapid.T) string {
	name := rapid.SampledFrom(g.Names).Draw(t, "name")
	if name != "" && name[0] < 0x80 && rapid.IntRange(0, 15).Draw(t, "escaped") == 0 {
		return `"\u00` + "0123456789abcdef"[name[0]>>4:][:1] + "0123456789ABCDEF"[name[0]&15:][:1] + name[1:] + `"`
	}
	return `"` + name + `"`
}

// Value draws a value of any kind that nests at most so deep.
func (g *Generator) Value(t *rapid.T, depth int) string {
	kind := rapid.IntRange(0, 11).Draw(t, "kind")
	if depth <= 0 {
		kind %= 8
	}
	switch kind {
	case 0, 1, 2, 3, 4, 5:
		return Quoted(rapid.SampledFrom(g.Strings).Draw(t, "string"))
	case 6:
		return rapid.SampledFrom(rawStrings).Draw(t, "raw string")
	case 7:
		return rapid.SampledFrom([]string{"null", "true", "false", "0", "-1.5e+10", "1e999"}).Draw(t, "literal")
	case 8:
		return Quoted(g.Object(t, depth-1))
	case 9:
		var b strings.Builder
		for n := range rapid.IntRange(0, 3).Draw(t, "elements") {
			if n > 0 {
				b.WriteString(",")
			}
			b.WriteString(Space(t) + g.Value(t, depth-1) + Space(t))
		}
		return "[" + b.String() + "]"
	}
	return g.Object(t, depth)
}

// Space draws white space, mostly none.
func Space(t *rapid.T) string {
	return rapid.SampledFrom([]string{"", "", "", "", "", "", " ", "\n", "\t\r "}).Draw(t, "space")
}

// Quoted returns a string as JSON.
func Quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // no string is refused
	}
	return string(b)
}
