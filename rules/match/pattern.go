package match

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// token is a piece of a value with wildcards.
type token struct {
	kind tokenKind
	text string // of a literal
}

type tokenKind uint8

const (
	literal tokenKind = iota
	anyRun            // *: any characters, none included
	anyOne            // ?: one character
)

// tokens takes a value of a rule apart. A backslash escapes a wildcard and itself; before
// any other character it is a backslash.
func tokens(value string) []token {
	var list []token
	var text strings.Builder
	flush := func() {
		if text.Len() > 0 {
			list = append(list, token{literal, text.String()})
			text.Reset()
		}
	}
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '\\' && i+1 < len(value) && strings.IndexByte(`*?\`, value[i+1]) >= 0:
			i++
			text.WriteByte(value[i])
		case c == '*':
			flush()
			if len(list) == 0 || list[len(list)-1].kind != anyRun {
				list = append(list, token{kind: anyRun})
			}
		case c == '?':
			flush()
			list = append(list, token{kind: anyOne})
		default:
			text.WriteByte(c)
		}
	}
	flush()
	return list
}

// plain returns the text of tokens without wildcards.
func plain(list []token) (text string, ok bool) {
	switch {
	case len(list) == 0:
		return "", true
	case len(list) == 1 && list[0].kind == literal:
		return list[0].text, true
	}
	return "", false
}

// pattern is a value with wildcards, compiled: the pieces between the *, which are looked
// for one behind the other.
type pattern struct {
	cased bool
	exact bool   // no wildcard: text is the whole value
	text  string // of exact, folded unless cased

	pieces     []piece
	open, ends bool // the first piece need not stand at the front, the last not at the end
}

// piece is what stands between two *: characters, and ? for any one.
type piece struct {
	text  []byte // folded unless cased; without ?
	runes []rune // with ?, which is anyRune; nil: text is all
}

const anyRune = -1

func newPattern(list []token, cased bool) pattern {
	p := pattern{cased: cased}
	if text, ok := plain(list); ok {
		p.exact, p.text = true, p.fold(text)
		return p
	}
	p.open = list[0].kind == anyRun
	p.ends = list[len(list)-1].kind == anyRun
	for from := 0; from < len(list); {
		to := from
		for to < len(list) && list[to].kind != anyRun {
			to++
		}
		if to > from {
			p.pieces = append(p.pieces, p.piece(list[from:to]))
		}
		from = to + 1
	}
	return p
}

func (p *pattern) fold(text string) string {
	if p.cased {
		return text
	}
	return string(appendFolded(nil, text))
}

func (p *pattern) piece(list []token) piece {
	if text, ok := plain(list); ok {
		return piece{text: []byte(p.fold(text))}
	}
	var q piece
	for _, t := range list {
		if t.kind == anyOne {
			q.runes = append(q.runes, anyRune)
			continue
		}
		q.runes = append(q.runes, []rune(p.fold(t.text))...)
	}
	return q
}

// prefix returns the folded text that every matching value begins with; "" says nothing.
func (p *pattern) prefix() string {
	text := p.text
	if !p.exact {
		if p.open || p.pieces[0].runes != nil {
			return ""
		}
		text = string(p.pieces[0].text)
	}
	return string(appendFolded(nil, text))
}

func (p *pattern) matches(value string, s *Scratch) bool {
	if p.exact {
		if p.cased {
			return value == p.text
		}
		return strings.EqualFold(value, p.text)
	}
	return p.matchesFolded(s.fold(value, p.cased))
}

// matchesFolded takes the leftmost place for each piece, which leaves the most for those
// behind it: nothing has to be tried twice.
func (p *pattern) matchesFolded(text []byte) bool {
	pieces := p.pieces
	if !p.open {
		n, ok := pieces[0].at(text)
		if !ok {
			return false
		}
		text, pieces = text[n:], pieces[1:]
		if len(pieces) == 0 {
			return p.ends || len(text) == 0
		}
	}
	for len(pieces) > 1 || len(pieces) == 1 && p.ends {
		end, ok := pieces[0].find(text)
		if !ok {
			return false
		}
		text, pieces = text[end:], pieces[1:]
	}
	return len(pieces) == 0 || pieces[0].atEnd(text)
}

// at reports whether the piece stands at the front of text, and where it ends.
func (q *piece) at(text []byte) (end int, ok bool) {
	if q.runes == nil {
		return len(q.text), bytes.HasPrefix(text, q.text)
	}
	for _, want := range q.runes {
		r, n := utf8.DecodeRune(text[end:])
		if n == 0 || want != anyRune && r != want {
			return 0, false
		}
		end += n
	}
	return end, true
}

// find returns the end of the first place of the piece in text.
func (q *piece) find(text []byte) (end int, ok bool) {
	if q.runes == nil {
		i := bytes.Index(text, q.text)
		return i + len(q.text), i >= 0
	}
	for i := 0; i <= len(text); {
		if n, ok := q.at(text[i:]); ok {
			return i + n, true
		}
		_, n := utf8.DecodeRune(text[i:])
		i += max(n, 1)
	}
	return 0, false
}

// atEnd reports whether the piece stands at the end of text.
func (q *piece) atEnd(text []byte) bool {
	if q.runes == nil {
		return bytes.HasSuffix(text, q.text)
	}
	from := len(text)
	for range q.runes {
		_, n := utf8.DecodeLastRune(text[:from])
		if n == 0 {
			return false
		}
		from -= n
	}
	_, ok := q.at(text[from:])
	return ok
}
