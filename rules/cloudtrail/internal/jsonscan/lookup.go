package jsonscan

import (
	"math"
	"unsafe"
)

// Member returns the raw value of the last member of that name of the JSON
// object in b; nil if there is none or b holds no valid object.
func Member(b []byte, name string) []byte {
	var found []byte
	var s Scanner
	i := Space(b, 0)
	if i == len(b) || b[i] != '{' {
		return nil
	}
	for {
		i = Space(b, i+1)
		if i == len(b) || b[i] != '"' {
			return nil
		}
		end := s.Value(b, i, false)
		if end < 0 {
			return nil
		}
		wanted := isNamed(b[i+1:end-1], name)
		if i = Space(b, end); i == len(b) || b[i] != ':' {
			return nil
		}
		i = Space(b, i+1)
		if end = s.Value(b, i, false); end < 0 {
			return nil
		}
		if wanted {
			found = b[i:end]
		}
		if i = Space(b, end); i < len(b) && b[i] == '}' {
			return found
		}
		if i == len(b) || b[i] != ',' {
			return nil
		}
	}
}

// Element returns the raw value of the element of the JSON array in b at a decimal index;
// nil if there is none or b holds no valid array.
func Element(b []byte, index string) []byte {
	n, ok := Index(index)
	if !ok {
		return nil
	}
	var s Scanner
	for i := Space(b, 0); i < len(b) && b[i] != ']'; n-- {
		i = Space(b, i+1)
		end := s.Value(b, i, false)
		if end < 0 {
			return nil
		}
		if n == 0 {
			return b[i:end]
		}
		i = Space(b, end)
	}
	return nil
}

// Index returns the number that a name in a path is as the index of an element: a decimal
// number of at most 32 bits.
func Index(name string) (n uint64, ok bool) {
	for i := range len(name) {
		if name[i]-'0' > 9 {
			return 0, false
		}
		if n = 10*n + uint64(name[i]-'0'); n > math.MaxUint32 {
			return 0, false
		}
	}
	return n, name != ""
}

// Container returns the JSON object or array that b begins with, without the bytes around
// it; nil if b begins with no valid one.
func Container(b []byte) []byte {
	i := Space(b, 0)
	if i == len(b) || b[i] != '{' && b[i] != '[' {
		return nil
	}
	var s Scanner
	end := s.Value(b, i, false)
	if end < 0 {
		return nil
	}
	return b[i:end]
}

// Next returns where the next element at or after b[i] lies that is not an array, in the
// valid JSON array b with nothing behind it; elements of arrays in it are like its own. If
// there is none, both are len(b). For an array however deep, all elements take one pass.
func Next(b []byte, i int) (start, end int) {
	for i < len(b) && (IsSpace(b[i]) || b[i] == '[' || b[i] == ',' || b[i] == ']') {
		i++
	}
	switch {
	case i == len(b):
		return i, i
	case b[i] == '"':
		return i, StringEnd(b, i)
	case b[i] == '{':
		return i, objectEnd(b, i)
	}
	end, _ = scalar(b, i)
	return i, end
}

// objectEnd returns the offset behind the valid object that begins at b[i].
func objectEnd(b []byte, i int) int {
	for depth := 0; i < len(b); {
		switch b[i] {
		case '"':
			i = StringEnd(b, i)
			continue
		case '{':
			depth++
		case '}':
			depth--
		}
		if i++; depth == 0 {
			return i
		}
	}
	return len(b)
}

// Unquoted returns the contents of a JSON string; any other value as it is.
func Unquoted(raw []byte) []byte {
	if s, ok := Text(raw); ok {
		return unsafe.Slice(unsafe.StringData(s), len(s))
	}
	return raw
}

// longestEscape is how many bytes of a string's raw form stand for one byte at most: \u0041.
const longestEscape = 6

// isNamed reports whether a member's name, in its raw form, is name.
func isNamed(raw []byte, name string) bool {
	if IsPlain(raw) {
		return string(raw) == name
	}
	if len(raw) > longestEscape*len(name) {
		return false // an unwanted name of any length is not copied
	}
	return string(AppendUnescaped(nil, raw)) == name
}

// Text returns the string with the raw form raw, quotes included: part of raw if that is
// possible.
func Text(raw []byte) (string, bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return "", false
	}
	raw = raw[1 : len(raw)-1]
	if !IsPlain(raw) {
		raw = AppendUnescaped(make([]byte, 0, UnescapedLen(raw)), raw)
	}
	return unsafe.String(unsafe.SliceData(raw), len(raw)), true
}
