package rules

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"trailhound/config/duration"
	"trailhound/rules/cloudtrail"
)

// Titles are printed on terminals, and the values in them are hostile.
const (
	maxTitleBytes = 1 << 10
	maxClipBytes  = 256 // longer than any ARN one meets, a quarter of a title
)

// Clip returns s, cut to 256 bytes and marked with … if it is longer. Rules put
// values from events through it before they make a title of them.
func Clip(s string) string { return cloudtrail.Clip(s, maxClipBytes) }

// title makes a finding's title fit to be printed: one line of bounded length with its
// control and format characters (escape sequences, line ends, marks that turn the direction
// of text) made visible, as in a Go string.
func title(s string) string {
	s = cloudtrail.Clip(s, maxTitleBytes)
	if strings.IndexFunc(s, unprintable) < 0 && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for _, r := range s { // a byte that is not UTF-8 comes as U+FFFD
		switch {
		case !unprintable(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// unprintable: Cc controls, Cf format characters (bidirectional controls,
// zero-width and tag characters), line and paragraph separators.
func unprintable(r rune) bool {
	if r < 0x7f {
		return r < ' '
	}
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}

// appendName appends a comma and the name of the next member. The name must
// need no escapes.
func appendName(dst []byte, name string) []byte {
	dst = append(dst, `,"`...)
	dst = append(dst, name...)
	return append(dst, `":`...)
}

func appendMember(dst []byte, name, value string) []byte {
	return appendString(appendName(dst, name), value)
}

// appendTime appends RFC 3339 in UTC, with a fraction only if there is one.
func appendTime(dst []byte, t time.Time) []byte {
	dst = append(dst, '"')
	dst = t.UTC().AppendFormat(dst, time.RFC3339Nano)
	return append(dst, '"')
}

func appendStrings(dst []byte, list []string) []byte {
	dst = append(dst, '[')
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, s)
	}
	return append(dst, ']')
}

func appendValue(dst []byte, value any) []byte {
	switch v := value.(type) {
	case string:
		return appendString(dst, v)
	case bool:
		return strconv.AppendBool(dst, v)
	case int:
		return strconv.AppendInt(dst, int64(v), 10)
	case int64:
		return strconv.AppendInt(dst, v, 10)
	case time.Time:
		return appendTime(dst, v)
	case time.Duration:
		return appendString(dst, duration.Format(v))
	case []string:
		return appendStrings(dst, v)
	}
	return appendString(dst, fmt.Sprint(value))
}

// appendString appends s as a JSON string. Bytes that are not UTF-8 become U+FFFD; only
// quotes, backslashes and control characters are escaped.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	done := 0 // s[:done] has been appended
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				dst = append(append(dst, s[done:i]...), "\uFFFD"...)
				done = i + 1
			}
			i += size
			continue
		}
		if c < ' ' || c == '"' || c == '\\' {
			dst = appendEscaped(append(dst, s[done:i]...), c)
			done = i + 1
		}
		i++
	}
	return append(append(dst, s[done:]...), '"')
}

func appendEscaped(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return fmt.Appendf(dst, `\u%04x`, c)
}

// secondsOf ends the name of the member that has a duration as a number of seconds.
const secondsOf = "_seconds"

// appendSeconds appends the member beside the duration of that name for readers
// that would rather not read 1h30m.
func appendSeconds(dst []byte, name string, d time.Duration) []byte {
	dst = append(appendString(dst, name+secondsOf), ':')
	return strconv.AppendFloat(dst, d.Seconds(), 'f', -1, 64)
}
