package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Every command describes itself and refuses unknown flags, in one sentence and with code
// 2.
func TestEveryCommand(t *testing.T) {
	var visit func(c *cobra.Command, path []string)
	visit = func(c *cobra.Command, path []string) {
		if c.Short == "" {
			t.Errorf("%s has no description; want one", c.CommandPath())
		}
		if c.RunE == nil {
			t.Errorf("%s has no RunE; want one, so that its errors are reported as all are", c.CommandPath())
		}
		r := command(t.Context(), "", nil, append(path, "--help")...)
		if r.code != exitDone || r.stderr != "" || !strings.Contains(r.stdout, "--set PATH=VALUE") || !strings.Contains(r.stdout, "--config FILE") {
			t.Errorf("%s --help = %d, %q, %q; want 0, and help with --config and --set on stdout", c.CommandPath(), r.code, r.stdout, r.stderr)
		}
		r = command(t.Context(), "", nil, append(path, "--no-such-flag")...)
		if r.code != exitUsage || r.stdout != "" || strings.Count(r.stderr, "\n") != 1 || !strings.HasPrefix(r.stderr, "trailhound: unknown flag: --no-such-flag") {
			t.Errorf("%s --no-such-flag = %d, %q, %q; want 2 and one line on stderr", c.CommandPath(), r.code, r.stdout, r.stderr)
		}
		for _, sub := range c.Commands() {
			visit(sub, append(append([]string(nil), path...), sub.Name()))
		}
	}
	visit(rootCommand(&app{}), nil)
}

func TestCompletion(t *testing.T) {
	for _, shell := range shells {
		r := command(t.Context(), "", nil, "completion", shell)
		if r.code != exitDone || r.stderr != "" || !strings.Contains(r.stdout, "trailhound") {
			t.Errorf("completion %s = %d, %.100q, %q; want 0 and a script", shell, r.code, r.stdout, r.stderr)
		}
	}
	// The command that the scripts call to complete.
	for want, args := range map[string][]string{
		"rules.access_denied.threshold=": {"run", "--set", "rules.access_denied.thr"}, "rules.access_denied=": {"run", "--set", "rules"},
		"start=latest\n": {"run", "--set", "start="}, "accept_loss=true\n": {"run", "--set", "accept_loss="},
		"critical\n": {"alerts", "--severity", ""}, "assume_role_unique_ip\n": {"alerts", "--rule", ""}, "too_late\n": {"dead-letters", "retry", "--reason", ""},
		"debug\n": {"log-level", ""}, "mine\n": {"replay", "--set", "topics.input=mine", "--input", ""},
	} {
		if r := command(t.Context(), "", nil, append([]string{"__complete"}, args...)...); !strings.Contains(r.stdout, want) {
			t.Errorf("__complete %q = %d with %.500q; want %q in it", args, r.code, r.stdout, want)
		}
	}
	r := command(t.Context(), "", nil, "__complete", "rules", "show", "acc")
	if r.code != exitDone || !strings.Contains(r.stdout, "access_denied\n") {
		t.Errorf("__complete rules show acc = %d, %q; want access_denied", r.code, r.stdout)
	}
}

func TestVersion(t *testing.T) {
	r := command(t.Context(), "", nil, "version")
	if fields := strings.Fields(r.stdout); r.code != exitDone || len(fields) < 4 || fields[0] != "trailhound" || !strings.Contains(r.stdout, " go1.") {
		t.Errorf("version = %d, %q; want program, version, Go and platform", r.code, r.stdout)
	}
}

// The error of a value that a flag refuses is in words, not in those of a parser.
func TestFlagValues(t *testing.T) {
	for want, args := range map[string][]string{
		"--partition x: a whole number is wanted":          {"replay", "--partition", "x"},
		"--input-partitions 1.5: a whole number is wanted": {"topics", "create", "--input-partitions", "1.5"},
		"--strict perhaps: true or false is wanted":        {"detect", "--strict=perhaps"},
	} {
		if r := command(t.Context(), "", nil, args...); r.code != exitUsage || !strings.HasPrefix(r.stderr, "trailhound: "+want) {
			t.Errorf("%q = %d, %q; want 2 and %q", args, r.code, r.stderr, want)
		}
	}
}

// The last value of a variable in the environment counts, as for any program.
func TestGetenv(t *testing.T) {
	a := &app{environment: []string{"A=1", "AB=2", "A=3", "C"}}
	for name, want := range map[string]string{"A": "3", "AB": "2", "C": "", "D": ""} {
		if got := a.getenv(name); got != want {
			t.Errorf("getenv(%s) = %q; want %q", name, got, want)
		}
	}
}

// A file's name in an error is as hostile as its content.
func TestErrorsArePrintable(t *testing.T) {
	var stderr bytes.Buffer
	a := &app{stderr: &stderr}
	if code := a.exit(usagef("no file \x1b[2J\u202e")); code != exitUsage || stderr.String() != "trailhound: no file \\x1b[2J\\u202e\n" {
		t.Errorf("exit = %d, %q; want 2 and the text escaped", code, stderr.String())
	}
}
