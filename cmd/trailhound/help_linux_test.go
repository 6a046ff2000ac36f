package main

import (
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// helpWidth bounds the lines in descriptions of commands, where they are not wrapped.
const helpWidth = 112

// Help fits the terminal, and its words stay whole.
func TestHelpOnTerminals(t *testing.T) {
	var visit func(c *cobra.Command, path []string)
	visit = func(c *cobra.Command, path []string) {
		for _, text := range []string{c.Long, c.Short} {
			for line := range strings.Lines(text) {
				if len(line) > helpWidth {
					t.Errorf("%s --help has the line %q; want %d columns at most", c.CommandPath(), line, helpWidth)
				}
			}
		}
		piped := command(t.Context(), "", nil, append(path, "--help")...).stdout
		for _, columns := range []uint16{200, 60, 40} {
			out := terminalOf(t, columns)
			code := execute(t.Context(), append(path, "--help"), strings.NewReader(""), out.side, io.Discard, nil)
			text := strings.ReplaceAll(out.text(), "\r", "")
			if columns == 200 && text != piped {
				t.Errorf("%s --help on a wide terminal prints\n%s\nwant what goes through a pipe\n%s", c.CommandPath(), text, piped)
			}
			if code != exitDone || strings.Join(strings.Fields(text), " ") != strings.Join(strings.Fields(piped), " ") {
				t.Errorf("%s --help on %d columns = %d with\n%s\nwant 0 and the words of\n%s", c.CommandPath(), columns, code, text, piped)
			}
			for _, line := range lines(text) {
				if len([]rune(line)) > int(columns) && strings.Contains(strings.TrimSpace(line), " ") {
					t.Errorf("%s --help on %d columns has the line %q; want it wrapped", c.CommandPath(), columns, line)
				}
			}
		}
		for _, sub := range c.Commands() {
			visit(sub, append(append([]string(nil), path...), sub.Name()))
		}
	}
	visit(rootCommand(&app{}), nil)
}

// help refuses an unknown command, as --help does, and prints the same as --help for a
// known one.
func TestHelpCommand(t *testing.T) {
	if r := command(t.Context(), "", nil, "help", "detct"); r.code != exitUsage || r.stdout != "" || !strings.Contains(r.stderr, "did you mean trailhound detect?") {
		t.Errorf("help detct = %d, %q, %q; want 2 and the nearest command", r.code, r.stdout, r.stderr)
	}
	if r := command(t.Context(), "", nil, "help", "rules", "shw"); r.code != exitUsage || !strings.Contains(r.stderr, "did you mean trailhound rules show?") {
		t.Errorf("help rules shw = %d, %q; want 2 and the nearest command", r.code, r.stderr)
	}
	for _, path := range [][]string{nil, {"detect"}, {"rules", "show"}} {
		got, want := command(t.Context(), "", nil, append([]string{"help"}, path...)...), command(t.Context(), "", nil, append(path, "--help")...)
		if got != want {
			t.Errorf("help %q = %+v; want %+v", path, got, want)
		}
	}
	if r := command(t.Context(), "", nil, "__complete", "help", "rules", ""); !strings.Contains(r.stdout, "show\t") {
		t.Errorf("__complete help rules = %q; want show in it", r.stdout)
	}
}
