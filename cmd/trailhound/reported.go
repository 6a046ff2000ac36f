package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"trailhound/rules"
)

const (
	// linesPerFile bounds the bad records reported for one reason in one file.
	linesPerFile = 5
	// linesPerReason bounds the records reported for one reason over all files: a directory
	// may hold thousands of files that are no CloudTrail, each with thousands of lines.
	linesPerReason = 50
)

// reported limits the lines on bad records, and counts the records left out. The number of
// lines bounds its memory.
type reported struct {
	all    bool                 // nothing is left out
	lines  map[rules.Reason]int // printed, over all files
	files  []*fileLines         // of which a line was printed
	latest map[fileReason]*fileLines
	rest   []*restLines // of files begun after linesPerReason was reached, by reason
}

type fileReason struct {
	file   string
	reason rules.Reason
}

// fileLines are the bad records of one file with one reason.
type fileLines struct {
	fileReason
	count int64
}

// restLines counts the bad records with one reason in files without any line.
type restLines struct {
	reason rules.Reason
	count  int64
	files  int64
	last   string // the file of the last such record
}

// reportAllFlag adds the flag that sets all.
func reportAllFlag(c *cobra.Command, all *bool) {
	c.Flags().BoolVar(all, "report-all", false, fmt.Sprintf("report every bad record, not %d for each file and reason", linesPerFile))
}

// takes counts one bad record, and says whether a line on it is to be printed.
func (r *reported) takes(file string, reason rules.Reason) bool {
	if r.all {
		return true
	}
	k := fileReason{file, reason}
	f := r.latest[k]
	if f == nil && r.lines[reason] >= linesPerReason {
		r.passOver(k)
		return false
	}
	if f == nil {
		if r.latest == nil {
			r.latest, r.lines = map[fileReason]*fileLines{}, map[rules.Reason]int{}
		}
		f = &fileLines{fileReason: k}
		r.latest[k], r.files = f, append(r.files, f)
	}
	if f.count++; f.count > linesPerFile {
		return false
	}
	r.lines[reason]++
	return true
}

func (r *reported) passOver(k fileReason) {
	i := slices.IndexFunc(r.rest, func(l *restLines) bool { return l.reason == k.reason })
	if i < 0 {
		i, r.rest = len(r.rest), append(r.rest, &restLines{reason: k.reason})
	}
	l := r.rest[i]
	l.count++
	if l.last != k.file {
		l.last = k.file
		l.files++
	}
}

// more adds a line for each file and reason with records left out.
func (r *reported) more(b *strings.Builder) {
	for _, f := range r.files {
		if f.count > linesPerFile {
			fmt.Fprintf(b, "%s: %s: and %d more\n", brief(f.file), f.reason, f.count-linesPerFile)
		}
	}
	for _, l := range r.rest {
		fmt.Fprintf(b, "%s: and %d more in %s\n", l.reason, l.count, counted(l.files, "other file"))
	}
}
