package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"golang.org/x/term"

	"trailhound/rules"
)

const (
	// leastWidth is the narrowest terminal for which text is wrapped.
	leastWidth = 20
	// leastColumn is the least width at which the last column of a table is wrapped within
	// itself.
	leastColumn = 20
	// columnGap is the number of blanks between two columns.
	columnGap = 2
	// alertHang indents wrapped text of an alert or a dead letter. Their own lines below
	// the first are indented by nine, so that text of an event cannot pass for one of them.
	alertHang = 11
	noteHang  = 2
)

// width returns the columns of the terminal that results go to; 0: they are not wrapped.
func (a *app) width() int { return widthOf(a.screen) }

func widthOf(screen *os.File) int {
	if screen == nil {
		return 0
	}
	n, _, err := term.GetSize(int(screen.Fd()))
	if err != nil || n < leastWidth {
		return 0
	}
	return n
}

// screenOf returns the stream if it is a terminal; else nil.
func screenOf(stream any) *os.File {
	if !isTerminal(stream) {
		return nil
	}
	f, _ := stream.(*os.File)
	return f
}

// colours tells whether results may have colours: on terminals that have them, unless NO_COLOR is set
// (https://no-color.org).
func (a *app) colours() bool {
	kind := a.getenv("TERM")
	return a.stdoutTerminal && a.getenv("NO_COLOR") == "" && kind != "" && kind != "dumb"
}

// severityColours are the parameters of ECMA-48's SGR.
var severityColours = map[string]string{
	string(rules.SeverityLow): "36", string(rules.SeverityMedium): "33", string(rules.SeverityHigh): "31", string(rules.SeverityCritical): "1;31",
}

// coloured gives the first word of text the colour of a severity.
func (a *app) coloured(severity, text string) string {
	colour := severityColours[severity]
	if colour == "" || !a.colours() || len(text) < len(severity) {
		return text
	}
	return "\x1b[" + colour + "m" + text[:len(severity)] + "\x1b[0m" + text[len(severity):]
}

// printText writes printable lines for people, wrapped for the terminal.
func (a *app) printText(w io.Writer, text string, hang int) error {
	_, err := io.WriteString(w, wrapText(text, a.width(), hang))
	return err
}

// tell writes printable lines for people to stderr, wrapped for its terminal.
func (a *app) tell(text string) {
	_, _ = io.WriteString(a.stderr, wrapText(text, widthOf(screenOf(a.stderr)), noteHang)) // there is nowhere else to report the error
}

// wrapText breaks lines that are wider than width at blanks; a width of 0 breaks none. The
// wrapped part is indented by at least hang, and by more than its line. A word that is
// wider than the terminal stays whole, so that it can be copied.
func wrapText(text string, width, hang int) string {
	if width == 0 {
		return text
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		body, end := strings.TrimSuffix(line, "\n"), ""
		if len(body) < len(line) {
			end = "\n"
		}
		wrapLine(&b, body, width, hang)
		b.WriteString(end)
	}
	return b.String()
}

func wrapLine(b *strings.Builder, line string, width, hang int) {
	if textWidth(line) <= width {
		b.WriteString(line)
		return
	}
	rest := strings.TrimLeft(line, " ")
	indent := len(line) - len(rest)
	if indent > 0 {
		hang = max(hang, indent+2)
	}
	hang = min(hang, width/2)
	b.WriteString(line[:indent])
	at, begins := indent, true // of the current line
	for rest != "" {
		gap := len(rest) - len(strings.TrimLeft(rest, " "))
		word, _, _ := strings.Cut(rest[gap:], " ")
		size := textWidth(word)
		switch {
		case begins:
		case at+gap+size > width:
			b.WriteString("\n" + strings.Repeat(" ", hang))
			at = hang
		default:
			b.WriteString(rest[:gap])
			at += gap
		}
		b.WriteString(word)
		at, begins, rest = at+size, false, rest[gap+len(word):]
	}
}

// textWidth returns how many columns a text takes at most. Characters from Hangul on, where
// wide ones begin, count as two.
func textWidth(text string) (n int) {
	for _, r := range text {
		if n++; r >= 0x1100 {
			n++
		}
	}
	return n
}

// flusher is a writer that lays out its text when it is flushed.
type flusher interface {
	io.Writer
	Flush() error
}

// columns returns a writer that lays out lines with cells that end in tabs, as a tabwriter
// does. A table that is too wide for the terminal is wrapped within its last column, or the
// cells that do not fit follow below each row.
func (a *app) columns(w io.Writer) flusher {
	if width := a.width(); width > 0 {
		return &columns{w: w, width: width}
	}
	return tabwriter.NewWriter(w, 0, 0, columnGap, ' ', 0)
}

type columns struct {
	w     io.Writer
	width int
	text  strings.Builder
}

func (c *columns) Write(p []byte) (int, error) { return c.text.Write(p) }

func (c *columns) Flush() error {
	var b strings.Builder
	var table [][]string
	for line := range strings.Lines(c.text.String()) {
		if line = strings.TrimSuffix(line, "\n"); strings.Contains(line, "\t") {
			table = append(table, strings.Split(line, "\t"))
			continue
		}
		c.table(&b, table)
		table = nil
		b.WriteString(wrapText(line, c.width, 0) + "\n")
	}
	c.table(&b, table)
	c.text.Reset()
	_, err := io.WriteString(c.w, b.String())
	return err
}

func (c *columns) table(b *strings.Builder, rows [][]string) {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], textWidth(cell))
		}
	}
	if len(widths) == 0 {
		return
	}
	last := 0 // where the last column begins
	for _, n := range widths[:len(widths)-1] {
		last += n + columnGap
	}
	if last+min(widths[len(widths)-1], leastColumn) > c.width {
		c.narrowTable(b, rows, widths)
		return
	}
	for _, row := range rows {
		padded(b, row[:len(row)-1], widths)
		cell := wrapText(row[len(row)-1], c.width-last, 0)
		b.WriteString(strings.ReplaceAll(cell, "\n", "\n"+strings.Repeat(" ", last)) + "\n")
	}
}

// narrowTable keeps the columns that fit side by side; the cells of the others follow
// below, indented.
func (c *columns) narrowTable(b *strings.Builder, rows [][]string, widths []int) {
	fit, at := 0, 0
	for fit < len(widths)-1 && (fit == 0 || at+widths[fit] <= c.width) {
		at += widths[fit] + columnGap
		fit++
	}
	indent := strings.Repeat(" ", 2*columnGap)
	for _, row := range rows {
		var first strings.Builder
		padded(&first, row[:min(fit, len(row))], widths)
		if first.Len() > 0 {
			b.WriteString(strings.TrimRight(first.String(), " ") + "\n")
		}
		if fit < len(row) {
			b.WriteString(wrapText(indent+strings.Join(row[fit:], "  "), c.width, 0) + "\n")
		}
	}
}

// padded writes cells as wide as their columns, and the gap behind each.
func padded(b *strings.Builder, cells []string, widths []int) {
	for i, cell := range cells {
		fmt.Fprintf(b, "%s%*s", cell, widths[i]-textWidth(cell)+columnGap, "")
	}
}
