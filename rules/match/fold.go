package match

import (
	"unicode"
	"unicode/utf8"
)

// appendFolded appends text with each character replaced by the first of those that Unicode's
// simple case folding takes for equal: two texts are equal without regard to case if they are
// equal folded.
func appendFolded(dst []byte, text string) []byte {
	for i := 0; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf {
			if 'a' <= c && c <= 'z' {
				c -= 'a' - 'A'
			}
			dst = append(dst, c)
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(text[i:])
		dst = utf8.AppendRune(dst, foldRune(r))
		i += n
	}
	return dst
}

// longestFolding is how many bytes of a text at most stand for one byte of it folded: the
// Kelvin sign has three and becomes K.
const longestFolding = 3

func foldRune(r rune) rune {
	first := r
	for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
		first = min(first, f)
	}
	return first
}
