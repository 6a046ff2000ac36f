package jsonscan

import (
	"encoding/binary"
	"math/bits"
)

// Masks for looking at eight bytes at once.
const (
	eachByte = 0x0101010101010101
	highBits = 0x80 * eachByte
)

// special marks, by their high bits, the bytes of w that end the plain run of a
// string: the quote, the backslash and control characters. Only the lowest
// mark can be relied on, since a borrow may run on into the bytes above it.
//
// Flipping bit 1 brings the quote (0x22) to 0x20, right above the control
// characters, so that one subtraction finds both.
func special(w uint64) uint64 {
	quote := (w ^ 0x02*eachByte) - 0x21*eachByte
	slash := (w ^ '\\'*eachByte) - eachByte
	return (quote | slash) &^ w & highBits
}

// first returns how many bytes of two words in a row stand before the first one
// that special has marked: m are the marks of the first word, n of the second,
// and one of them is not zero.
func first(m, n uint64) int {
	if m != 0 {
		return bits.TrailingZeros64(m) >> 3
	}
	return 8 + bits.TrailingZeros64(n)>>3
}

// tail returns the bytes of b from i on, fewer than eight, as the low bytes of a word. The
// zeros above them look like control characters, so the search for the end of a string
// stops at the end of the input.
func tail(b []byte, i int) (w uint64) {
	if len(b) >= 8 && i < len(b) {
		return binary.LittleEndian.Uint64(b[len(b)-8:]) >> (8 * uint(8-len(b)+i))
	}
	for n := len(b) - 1; n >= i; n-- {
		w = w<<8 | uint64(b[n])
	}
	return w
}

// Special returns the offset of the first special byte of b at or after i, or
// len(b).
func Special(b []byte, i int) int {
	for len(b)-i >= 8 {
		if m := special(binary.LittleEndian.Uint64(b[i:])); m != 0 {
			return i + bits.TrailingZeros64(m)>>3
		}
		i += 8
	}
	return i + bits.TrailingZeros64(special(tail(b, i)))>>3
}

// closing checks a string from b[i] on, an offset inside it, and returns the
// offset of its closing quote. A high bit of seen is set if there is an escape or
// a byte above 0x7f on the way. If ok is false, end is the offset of the byte
// that is wrong.
func closing(b []byte, i int) (end int, seen uint64, ok bool) {
	for {
		var w uint64
		if len(b)-i >= 8 {
			w = binary.LittleEndian.Uint64(b[i:])
		} else {
			w = tail(b, i)
		}
		seen |= w
		m := special(w)
		if m == 0 {
			i += 8
			continue
		}
		i += bits.TrailingZeros64(m) >> 3
		switch {
		case i >= len(b):
			return len(b), seen, false
		case b[i] == '"':
			return i, seen, true
		case b[i] != '\\':
			return i, seen, false
		}
		seen = highBits
		if i, ok = escape(b, i); !ok {
			return i, seen, false
		}
	}
}

// textEnd is closing for a string that may be long: it looks at sixteen bytes at a time.
func textEnd(b []byte, i int) (end int, seen uint64, ok bool) {
	for len(b)-i >= 16 {
		w := binary.LittleEndian.Uint64(b[i:])
		x := binary.LittleEndian.Uint64(b[i+8:])
		seen |= w | x
		m, n := special(w), special(x)
		if m|n != 0 {
			i += first(m, n)
			if b[i] == '"' {
				return i, seen, true
			}
			break
		}
		i += 16
	}
	end, w, ok := closing(b, i)
	return end, seen | w, ok
}

// Space returns the offset of the first byte at or after i that is not white
// space in the sense of JSON.
func Space(b []byte, i int) int {
	for i < len(b) && IsSpace(b[i]) {
		i++
	}
	return i
}

// IsSpace reports white space in the sense of JSON.
func IsSpace(c byte) bool {
	return c == ' ' || c == '\n' || c == '\r' || c == '\t'
}

// escape checks the escape sequence with its backslash at b[i] and returns the offset
// behind it. If ok is false, end is the offset of the byte that is wrong.
func escape(b []byte, i int) (end int, ok bool) {
	i++
	if i >= len(b) {
		return len(b), false
	}
	switch b[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 1, true
	case 'u':
	default:
		return i, false
	}
	for range 4 {
		i++
		if i >= len(b) {
			return len(b), false
		}
		if hexDigit(b[i]) < 0 {
			return i, false
		}
	}
	return i + 1, true
}

// hexDigit returns the value of a hexadecimal digit, -1 for any other byte.
func hexDigit(c byte) rune {
	switch {
	case '0' <= c && c <= '9':
		return rune(c - '0')
	case 'a' <= c && c <= 'f':
		return rune(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return rune(c-'A') + 10
	}
	return -1
}

// scalar checks the number or the literal that begins at b[i], and returns the offset behind
// it. If ok is false, end is the offset of the byte that is wrong.
func scalar(b []byte, i int) (end int, ok bool) {
	switch b[i] {
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return number(b, i)
	case 't':
		return literal(b, i, "true")
	case 'f':
		return literal(b, i, "false")
	case 'n':
		return literal(b, i, "null")
	}
	return i, false
}

// number checks the number that begins at b[i], a digit or a minus sign, and
// returns the offset behind it. If ok is false, end is the offset of the byte
// that is wrong.
func number(b []byte, i int) (end int, ok bool) {
	if b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if i, ok = digits(b, i); !ok {
		return i, false
	}
	if i < len(b) && b[i] == '.' {
		if i, ok = digits(b, i+1); !ok {
			return i, false
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		return digits(b, i)
	}
	return i, true
}

// digits steps over one or more digits.
func digits(b []byte, i int) (end int, ok bool) {
	first := i
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	return i, i > first
}

func literal(b []byte, i int, word string) (end int, ok bool) {
	if len(b)-i >= len(word) && string(b[i:i+len(word)]) == word {
		return i + len(word), true
	}
	for n := range len(word) {
		if i+n >= len(b) || b[i+n] != word[n] {
			return i + n, false
		}
	}
	return i + len(word), true
}
