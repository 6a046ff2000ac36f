package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Bad records do not flood the terminal: five lines for each file and reason, and no more
// than fifty for a reason over all the files of a directory. The others are counted and
// reported as a number.
func TestReportedLines(t *testing.T) {
	t.Chdir(t.TempDir())
	junk := strings.Repeat("junk\n", 464)
	writeFile(t, "one/panther.jsonl", []byte(junk+strings.Repeat("{}\n", 7)+`{"eventVersion":"1"}`))
	for n := range 300 {
		writeFile(t, fmt.Sprintf("many/%03d.md", n), []byte(junk[:8*5]))
	}
	for _, c := range []struct {
		path  string
		junk  int // records that are no JSON
		lines int
		want  []string
	}{
		{"one/panther.jsonl", 464, 5 + 5 + 1, []string{
			"one/panther.jsonl: not_json: and 459 more", "one/panther.jsonl: unknown_shape: and 2 more",
			"files 1, records 472, events 0, matches 0", "left out: no_event_time 1, not_json 464, unknown_shape 7",
		}},
		{"many", 2400, 50, append(moreLines(10), "not_json: and 2320 more in 290 other files", "files 300, records 2400, events 0, matches 0", "left out: not_json 2400")},
	} {
		r := command(t.Context(), "", nil, "detect", c.path)
		got := lines(r.stderr)
		if r.code != exitDone || len(got) != c.lines+len(c.want)+1 || !slices.Equal(got[c.lines:len(got)-1], c.want) {
			t.Errorf("detect %s = %d with %q; want %d lines on records, then %q", c.path, r.code, got, c.lines, c.want)
		}
		r = command(t.Context(), "", nil, "detect", "--report-all", c.path)
		if n := strings.Count(r.stderr, ":not_json: "); n != c.junk {
			t.Errorf("detect --report-all %s reports %d records that are no JSON; want %d", c.path, n, c.junk)
		}
	}
}

// moreLines returns the lines on files with some records reported.
func moreLines(files int) []string {
	var want []string
	for n := range files {
		want = append(want, fmt.Sprintf("many/%03d.md: not_json: and 3 more", n))
	}
	return want
}
