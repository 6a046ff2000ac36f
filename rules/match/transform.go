package match

import (
	"encoding/base64"
	"encoding/binary"
	"strings"
	"unicode/utf16"
)

// transform applies a transforming modifier to a value, which may become several: one of
// them has to match. The fault is a sentence.
func transform(name string, value []token) (values [][]token, fault string) {
	if name == "windash" {
		return dashes(value)
	}
	text, ok := plain(value)
	if !ok {
		return nil, quote(name) + " encodes bytes, and a wildcard stands for none; escape it as \\* or \\?"
	}
	if name == "base64offset" {
		for offset := range 3 {
			values = append(values, literally(base64At(text, offset)))
		}
		return values, ""
	}
	switch name {
	case "base64":
		text = base64.StdEncoding.EncodeToString([]byte(text))
	case "utf16":
		text = encode16(binary.LittleEndian, "\ufeff"+text)
	case "wide", "utf16le":
		text = encode16(binary.LittleEndian, text)
	case "utf16be":
		text = encode16(binary.BigEndian, text)
	}
	return [][]token{literally(text)}, ""
}

func literally(text string) []token {
	if text == "" {
		return nil
	}
	return []token{{literal, text}}
}

// base64At returns the characters of base64 that text has for certain if it stands behind
// offset bytes, modulo 3, of which nothing is known, and before others.
func base64At(text string, offset int) string {
	encoded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat(" ", offset) + text))
	start := [3]int{0, 2, 3}[offset]
	end := len(encoded) - [3]int{0, 3, 2}[(len(text)+offset)%3]
	return encoded[min(start, end):end]
}

func encode16(order binary.AppendByteOrder, text string) string {
	var b []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		b = order.AppendUint16(b, unit)
	}
	return string(b)
}

// Characters that Windows takes for the dash before an option; mostDashed bounds the values
// that one becomes.
const (
	dashCharacters = "-/–—―"
	mostDashed     = 625
)

// dashes returns the value with each dash or slash that begins an option in each of its
// forms. One begins an option if no word character stands before it, and one behind it.
func dashes(value []token) (values [][]token, fault string) {
	values = [][]token{nil}
	spread := func(forms ...token) {
		next := make([][]token, 0, len(values)*len(forms))
		for _, v := range values {
			for _, f := range forms {
				next = append(next, join(v, f))
			}
		}
		values = next
	}
	for _, t := range value {
		from := 0
		for i := 0; i < len(t.text); i++ {
			if c := t.text[i]; c != '-' && c != '/' || i > 0 && isWord(t.text[i-1]) || i+1 == len(t.text) || !isWord(t.text[i+1]) {
				continue
			}
			spread(token{literal, t.text[from:i]})
			var forms []token
			for _, d := range dashCharacters {
				forms = append(forms, token{literal, string(d)})
			}
			if spread(forms...); len(values) > mostDashed {
				return nil, "windash meets more than four dashes in one value; split it"
			}
			from = i + 1
		}
		t.text = t.text[from:]
		spread(t)
	}
	return values, ""
}

// join appends a token to a copy of a value; literals in a row become one.
func join(value []token, t token) []token {
	joined := append(make([]token, 0, len(value)+1), value...)
	switch last := len(joined) - 1; {
	case t.kind == literal && t.text == "":
	case t.kind == literal && last >= 0 && joined[last].kind == literal:
		joined[last].text += t.text
	default:
		joined = append(joined, t)
	}
	return joined
}

func isWord(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
