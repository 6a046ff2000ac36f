package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"trailhound/rules/cloudtrail"
)

// errNoReader ends a command quietly when the reader of its results has closed the pipe, as
// head does.
var errNoReader = errors.New("nobody reads the results any more")

// results is stdout. It tells a closed pipe of stdout apart from that of another stream.
type results struct {
	w    io.Writer
	gone atomic.Bool // the reader has closed the pipe
}

func (r *results) Write(p []byte) (int, error) {
	n, err := r.w.Write(p)
	switch {
	case errors.Is(err, syscall.EPIPE), errors.Is(err, io.ErrClosedPipe):
		r.gone.Store(true)
		return n, errNoReader
	case err != nil:
		return n, fmt.Errorf("write the results: %w", err)
	}
	return n, nil
}

// noReader tells whether a command failed because its results have no reader any more. The
// error may be another one: the closed pipe may have interrupted the reading of the input
// first.
func (a *app) noReader(err error) bool {
	r, ok := a.stdout.(*results)
	return errors.Is(err, errNoReader) || err != nil && ok && r.gone.Load()
}

// counted returns a number with its noun: 1 record, 2 records.
func counted[N int | int64](n N, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// printable returns s with control characters, bytes that are not UTF-8, and Unicode's
// invisible and directional characters as escapes: a terminal might act on them, and they
// could hide or reorder text.
func printable(s string) string {
	if clean(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case shown(r):
			b.WriteRune(r)
		default:
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
		i += size
	}
	return b.String()
}

// shownBytes bounds one value as people see it: more than any ARN, and far less than the
// hundreds of kilobytes that an event may hold.
const shownBytes = 512

// brief is printable for a value of any length: bytes beyond the first shownBytes are left
// out, and … says so.
func brief(s string) string { return briefly(s, shownBytes) }

func briefly(s string, most int) string { return printable(cloudtrail.Clip(s, most)) }

// printableJSON appends a JSON text to dst with the characters that [printable] escapes in
// JSON's escapes: its value stays the same. Outside of strings, JSON has none of them.
func printableJSON(dst, text []byte) []byte {
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		switch {
		case shown(r) && (r != utf8.RuneError || size > 1):
			dst = append(dst, text[:size]...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			dst = fmt.Appendf(dst, `\u%04x\u%04x`, high, low)
		default:
			dst = fmt.Appendf(dst, `\u%04x`, r)
		}
		text = text[size:]
	}
	return dst
}

func clean(s string) bool {
	for _, r := range s {
		if !shown(r) || r == utf8.RuneError {
			return false
		}
	}
	return true
}

// shown reports whether r is a visible character of its own, or the blank.
func shown(r rune) bool {
	return r < utf8.RuneSelf && r >= ' ' && r != 0x7f || r >= utf8.RuneSelf && unicode.IsPrint(r)
}

// jsonLine prints a value as one line of JSON; on a terminal without bytes that the
// terminal would act on.
func (a *app) jsonLine(v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	line := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if a.stdoutTerminal {
		line = printableJSON(nil, line)
	}
	_, err := fmt.Fprintf(a.stdout, "%s\n", line)
	return err
}
