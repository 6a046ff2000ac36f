package rules

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

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
