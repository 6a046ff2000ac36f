package jsonscan

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// AppendUnescaped appends the string with the raw form raw, without its quotes. As in
// encoding/json, each byte that is not UTF-8 and each surrogate without its partner becomes
// U+FFFD. raw must have passed a scan.
func AppendUnescaped(dst, raw []byte) []byte {
	for {
		n := verbatim(raw)
		dst = append(dst, raw[:n]...)
		raw = raw[n:]
		switch {
		case len(raw) == 0:
			return dst
		case raw[0] == '\\':
			dst, n = appendEscape(dst, raw)
		default:
			var r rune
			r, n = utf8.DecodeRune(raw)
			dst = utf8.AppendRune(dst, r)
		}
		raw = raw[n:]
	}
}

// IsPlain reports whether the raw form of a string, without its quotes, is the string
// itself.
func IsPlain(raw []byte) bool {
	n := verbatim(raw)
	return n == len(raw) || bytes.IndexByte(raw[n:], '\\') < 0 && utf8.Valid(raw[n:])
}

// UnescapedLen is the number of bytes that AppendUnescaped appends.
func UnescapedLen(raw []byte) int {
	var scratch [2 * utf8.UTFMax]byte
	size := 0
	for {
		n := verbatim(raw)
		size += n
		raw = raw[n:]
		switch {
		case len(raw) == 0:
			return size
		case raw[0] == '\\':
			var b []byte
			b, n = appendEscape(scratch[:0], raw)
			size += len(b)
		default:
			var r rune
			r, n = utf8.DecodeRune(raw)
			size += utf8.RuneLen(r)
		}
		raw = raw[n:]
	}
}

// verbatim returns how many bytes at the front of raw are ASCII and no
// backslash.
func verbatim(raw []byte) int {
	i := 0
	for ; len(raw)-i >= 8; i += 8 {
		w := binary.LittleEndian.Uint64(raw[i:])
		slash := (w ^ '\\'*eachByte) - eachByte
		if m := (w | slash) & highBits; m != 0 {
			return i + bits.TrailingZeros64(m)>>3
		}
	}
	for i < len(raw) && raw[i] != '\\' && raw[i] < utf8.RuneSelf {
		i++
	}
	return i
}

// appendEscape appends the character of the escape sequence at the front of raw and returns
// how many bytes of raw the sequence takes.
func appendEscape(dst, raw []byte) ([]byte, int) {
	if len(raw) < 2 {
		return dst, len(raw)
	}
	switch c := raw[1]; c {
	case 'b':
		return append(dst, '\b'), 2
	case 'f':
		return append(dst, '\f'), 2
	case 'n':
		return append(dst, '\n'), 2
	case 'r':
		return append(dst, '\r'), 2
	case 't':
		return append(dst, '\t'), 2
	case 'u':
		r, n := escapedRune(raw)
		return utf8.AppendRune(dst, r), n
	default:
		return append(dst, c), 2
	}
}

// escapedRune decodes the \u sequence at the front of raw, with the second half
// of a surrogate pair where one follows.
func escapedRune(raw []byte) (r rune, n int) {
	r = utf16Unit(raw)
	if !utf16.IsSurrogate(r) {
		return r, min(6, len(raw))
	}
	if pair := utf16.DecodeRune(r, utf16Unit(raw[min(6, len(raw)):])); pair != utf8.RuneError {
		return pair, 12
	}
	return utf8.RuneError, 6
}

// utf16Unit returns the code unit that the \u sequence at the front of raw
// stands for; -1 if there is none.
func utf16Unit(raw []byte) rune {
	if len(raw) < 6 || raw[0] != '\\' || raw[1] != 'u' {
		return -1
	}
	var r rune
	for _, c := range raw[2:6] {
		d := hexDigit(c)
		if d < 0 {
			return -1
		}
		r = r<<4 | d
	}
	return r
}

// AppendCompact appends the JSON text raw without its insignificant white space
// and with U+FFFD in place of each byte that is not UTF-8; all other bytes stay
// as they are. raw must be valid JSON.
func AppendCompact(dst, raw []byte) []byte {
	for i := 0; i < len(raw); {
		if IsSpace(raw[i]) {
			i = Space(raw, i)
			continue
		}
		end := i
		for end < len(raw) && !IsSpace(raw[end]) {
			if raw[end] == '"' {
				end = StringEnd(raw, end)
			} else {
				end++
			}
		}
		dst = appendValidUTF8(dst, raw[i:end])
		i = end
	}
	return dst
}

// StringEnd returns the offset behind the string with its opening quote at b[i].
func StringEnd(b []byte, i int) int {
	for i++; ; {
		i = Special(b, i)
		switch {
		case i >= len(b):
			return len(b)
		case b[i] == '"':
			return i + 1
		case b[i] == '\\':
			i++
		}
		i++
	}
}

// appendValidUTF8 appends b with U+FFFD in place of each invalid byte.
func appendValidUTF8(dst, b []byte) []byte {
	if utf8.Valid(b) {
		return append(dst, b...)
	}
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		dst = utf8.AppendRune(dst, r)
		b = b[n:]
	}
	return dst
}
