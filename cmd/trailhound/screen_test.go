package main

import (
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Wrapped text keeps its words, in lines that fit. The indent tells the rest of a wrapped
// line from every line of the text, so that an event cannot forge a line of an alert.
func TestWrapText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		width := rapid.IntRange(leastWidth, 100).Draw(t, "width")
		word := rapid.StringMatching(`[a-z:/0-9]{1,30}|字{1,20}|rule|alert|[a-z]{90}`)
		var text []string
		for range rapid.IntRange(1, 4).Draw(t, "lines") {
			indent := rapid.SampledFrom([]int{0, 4, 9}).Draw(t, "indent")
			words := rapid.SliceOfN(word, 0, 20).Draw(t, "words")
			gap := rapid.SampledFrom([]string{" ", "  "}).Draw(t, "gap")
			text = append(text, strings.TrimRight(strings.Repeat(" ", indent)+strings.Join(words, gap), " "))
		}
		whole := strings.Join(text, "\n")
		got := strings.Split(wrapText(whole, width, alertHang), "\n")
		hang := min(alertHang, width/2)
		var joined []string
		for _, line := range got {
			rest := strings.TrimLeft(line, " ")
			if textWidth(line) > width && strings.Contains(rest, " ") {
				t.Fatalf("wrapText(%q, %d) has the line %q; want none as wide but for a single word", whole, width, line)
			}
			if len(line)-len(rest) == hang && rest != "" {
				joined[len(joined)-1] += " " + rest
				continue
			}
			joined = append(joined, line)
		}
		fields := func(lines []string) string {
			var b strings.Builder
			for _, line := range lines {
				b.WriteString(strings.Repeat(" ", len(line)-len(strings.TrimLeft(line, " "))) + strings.Join(strings.Fields(line), " ") + "\n")
			}
			return b.String()
		}
		if fields(joined) != fields(text) {
			t.Fatalf("wrapText(%q, %d) = %q; want the same lines", whole, width, got)
		}
	})
}

// A table keeps its columns where they fit, and none of its words is broken.
func TestColumns(t *testing.T) {
	const text = "rules\n\nRULE\tON\tTITLE\naccess_denied\tyes\tone principal is denied access again and again\nother\tno\tshort\n"
	for _, c := range []struct {
		width int
		want  string
	}{
		{80, "rules\n\nRULE           ON   TITLE\naccess_denied  yes  one principal is denied access again and again\nother          no   short\n"},
		{45, "rules\n\nRULE           ON   TITLE\naccess_denied  yes  one principal is denied\n                    access again and again\nother          no   short\n"},
		{30, "rules\n\nRULE           ON\n    TITLE\naccess_denied  yes\n    one principal is denied\n      access again and again\nother          no\n    short\n"},
		{16, "rules\n\nRULE\n    ON  TITLE\naccess_denied\n    yes  one\n      principal\n      is denied\n      access\n      again and\n      again\nother\n    no  short\n"},
	} {
		var b strings.Builder
		w := &columns{w: &b, width: c.width}
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil || b.String() != c.want {
			t.Errorf("columns of %d: %v\n%s\nwant\n%s", c.width, err, b.String(), c.want)
		}
	}
}

// On narrow terminals no line is wider than the terminal, except a single word; colours are
// for terminals that have them.
func TestNarrowTerminals(t *testing.T) {
	t.Parallel()
	sample := "sample/cloudtrail.jsonl"
	for _, columns := range []uint16{60, 40} {
		for _, args := range [][]string{{"detect", sample}, {"rules", "list"}, {"rules", "show", "access_denied"}} {
			out := terminalOf(t, columns)
			code := execute(t.Context(), args, strings.NewReader(""), out.side, io.Discard, nil)
			text := out.text()
			if code != exitDone || text == "" {
				t.Errorf("%q = %d with %q; want 0", args, code, text)
			}
			for _, line := range lines(text) {
				if len([]rune(line)) > int(columns) && strings.Contains(strings.TrimSpace(line), " ") {
					t.Errorf("%q on %d columns has the line %q; want it wrapped", args, columns, line)
				}
			}
		}
	}
	out := terminalOf(t, 60)
	code := execute(t.Context(), []string{"demo"}, strings.NewReader(""), io.Discard, out.side, nil)
	if text := out.text(); code != exitDone || !strings.Contains(text, "179 records in, 2 alerts out, each committed exactly once;\n  came twice") {
		t.Errorf("demo on 60 columns = %d and says %q; want it wrapped at blanks", code, text)
	}
	for _, c := range []struct {
		environment []string
		colours     bool
	}{
		{[]string{"TERM=xterm"}, true}, {[]string{"TERM=xterm", "NO_COLOR="}, true}, {[]string{"TERM=xterm", "NO_COLOR=1"}, false}, {[]string{"TERM=dumb"}, false}, {nil, false},
	} {
		out := newTerminal(t)
		execute(t.Context(), []string{"detect", sample}, strings.NewReader(""), out.side, io.Discard, c.environment)
		if text := out.text(); strings.Contains(text, "\x1b[31mHIGH\x1b[0m     2026") != c.colours || strings.Contains(text, "\x1b") != c.colours {
			t.Errorf("detect with %q prints %q; want colours: %t", c.environment, text, c.colours)
		}
		if r := command(t.Context(), "", c.environment, "detect", sample); strings.Contains(r.stdout, "\x1b") {
			t.Errorf("detect with %q prints %q through a pipe; want no colours", c.environment, r.stdout)
		}
	}
}
