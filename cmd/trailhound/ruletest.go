package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"trailhound/config"
	"trailhound/rules"
	"trailhound/rules/ruletest"
	"trailhound/state"
)

func rulesTestCommand(a *app) *cobra.Command {
	t := &ruleTests{app: a}
	c := &cobra.Command{
		Use:   "test [PATH…]",
		Short: "Run tests of rules: events in YAML files, what must come of them, and what the rule must remember",
		Long: "Test runs the tests in the files named, and in all files *_test.yaml and *_test.yml below the directories\n" +
			"named; without a PATH, below the current one. Files found there without a key rule, such as promtool's, are\n" +
			"left out. Each test has the real engine and a state of its own in memory.\n" +
			"A file gives its rule's parameters itself: no configuration is read. rules/README.md describes the format.\n\n" +
			"The exit code is 0 when all tests passed, 1 when one failed or a file has mistakes, 2 when a path cannot be\n" +
			"read or there is nothing to run.",
		Example: "  trailhound rules test\n  trailhound rules test -v --run 'late|duplicate' rules/testdata/access_denied",
		RunE: func(c *cobra.Command, args []string) error {
			return t.execute(c.Context(), args)
		},
	}
	c.Flags().BoolVarP(&t.verbose, "verbose", "v", false, "name the tests that passed, too")
	c.Flags().StringVar(&t.run, "run", "", "run only tests whose name this `REGEXP` matches")
	c.Flags().BoolVar(&t.asJSON, "json", false, "print one JSON object a test, and one a file that has mistakes")
	c.Flags().BoolVar(&t.update, "update", false, "write the files that alert_file names, instead of comparing them")
	return c
}

// ruleTests is one run of rules test.
type ruleTests struct {
	app                     *app
	verbose, update, asJSON bool
	run                     string

	wanted           *regexp.Regexp
	passed, failed   int
	broken, fileRuns int
}

// ruleSuite runs test files with the defaults of the configuration, so that a test means
// the same everywhere.
func ruleSuite() *ruletest.Suite {
	c := config.Default()
	return &ruletest.Suite{
		Rules: builtin(),
		Limits: rules.Limits{
			DuplicatesWithin: c.Events.DuplicatesWithin,
			MaxLateness:      c.Events.MaxLateness,
			MaxAhead:         c.Events.MaxAhead,
			MaxSetMembers:    c.Limits.MaxSetMembers,
			MaxAlertBytes:    int(c.Limits.MaxAlertBytes),
		},
		State:   state.Options{Lifetime: c.State.Lifetime, MaxSetMembers: c.Limits.MaxSetMembers},
		Parse:   config.ParseYAML,
		Decode:  config.DecodeParams,
		Nearest: config.Nearest,
	}
}

func (t *ruleTests) execute(ctx context.Context, args []string) (err error) {
	if t.app.configFile != "" || len(t.app.set) > 0 {
		return usagef("rules test reads no configuration; give parameters in the test file")
	}
	if t.wanted, err = regexp.Compile(t.run); err != nil {
		return usagef("--run: %s", err)
	}
	paths, err := ruleTestFiles(args)
	if err != nil {
		return err
	}
	suite := ruleSuite()
	suite.Update = t.update
	for _, path := range paths {
		if err := t.file(ctx, suite, path, slices.Contains(args, path)); err != nil {
			return err
		}
	}
	if t.fileRuns == 0 {
		return usagef("none of the files found names a rule; name files or directories")
	}
	return t.verdict()
}

// verdict returns the error of the whole run.
func (t *ruleTests) verdict() error {
	var parts []string
	if t.failed > 0 {
		parts = append(parts, fmt.Sprintf("%d of %s failed", t.failed, counted(t.failed+t.passed, "test")))
	}
	if t.broken > 0 {
		parts = append(parts, fmt.Sprintf("mistakes in %d of %s", t.broken, counted(t.fileRuns, "file")))
	}
	switch {
	case len(parts) > 0:
		return errors.New(strings.Join(parts, "; "))
	case t.passed == 0:
		return usagef("--run %s matches none of the tests", t.run)
	}
	return nil
}

// file runs the tests of one file and reports them as go test does. A file that was found,
// and not named, may hold no tests.
func (t *ruleTests) file(ctx context.Context, suite *ruletest.Suite, path string, named bool) error {
	begun := time.Now()
	f, err := suite.Load(path)
	if _, other := errors.AsType[*ruletest.NoRuleError](err); other && !named {
		if t.asJSON {
			return nil
		}
		return t.line("?\t%s\t[no test of a rule: it has no key rule]", path)
	}
	t.fileRuns++
	if unread, ok := errors.AsType[*fs.PathError](err); ok && unread.Path == path {
		return namedError("", err)
	}
	if err != nil {
		t.broken++
		return t.mistakes(path, strings.Split(err.Error(), "\n"))
	}
	passed, failed := 0, 0
	for _, test := range f.Tests {
		if !t.wanted.MatchString(test.Name) {
			continue
		}
		ok, err := t.test(ctx, path, test)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", printable(path), printable(test.Name), err)
		}
		if ok {
			passed++
		} else {
			failed++
		}
	}
	t.passed, t.failed = t.passed+passed, t.failed+failed
	if t.asJSON {
		return nil
	}
	took := fmt.Sprintf("%.3fs", time.Since(begun).Seconds())
	switch {
	case failed > 0:
		return t.line("FAIL\t%s\t%d of %s failed\t%s", path, failed, counted(passed+failed, "test"), took)
	case passed == 0:
		return t.line("ok\t%s\t[no tests to run]", path)
	}
	return t.line("ok\t%s\t%s\t%s", path, counted(passed, "test"), took)
}

// mistakes reports a file that cannot be run.
func (t *ruleTests) mistakes(path string, all []string) error {
	if t.asJSON {
		return t.app.jsonLine(tested{File: path, Result: "mistakes", Details: all})
	}
	if err := t.lines("", all); err != nil {
		return err
	}
	return t.line("FAIL\t%s\t[mistakes in the file]", path)
}

func (t *ruleTests) test(ctx context.Context, path string, test *ruletest.Test) (ok bool, err error) {
	failure, err := test.Run(ctx)
	if err != nil {
		return false, err
	}
	if t.asJSON {
		return failure == nil, t.app.jsonLine(testedRule(path, test, failure))
	}
	if failure == nil {
		if t.verbose {
			err = t.line("--- PASS: %s (%s:%d)", test.Name, path, test.Line)
		}
		return true, err
	}
	if err := t.line("--- FAIL: %s (%s:%d)", test.Name, path, test.Line); err != nil {
		return false, err
	}
	return false, t.lines("    ", failure.Lines())
}

// line writes one line, with texts of test files and events escaped.
func (t *ruleTests) line(format string, args ...any) error {
	for i, arg := range args {
		if text, ok := arg.(string); ok {
			args[i] = printable(text)
		}
	}
	_, err := fmt.Fprintf(t.app.stdout, format+"\n", args...)
	return err
}

func (t *ruleTests) lines(indent string, lines []string) error {
	for _, text := range lines {
		if err := t.line("%s%s", indent, text); err != nil {
			return err
		}
	}
	return nil
}

// ruleTestFiles lists the test files: each file in args, under any name, and the
// *_test.yaml and *_test.yml below each directory in args.
func ruleTestFiles(args []string) ([]string, error) {
	if len(args) == 0 {
		args = []string{"."}
	}
	var paths []string
	for _, arg := range args {
		info, err := os.Stat(arg)
		if err != nil {
			return nil, namedError("", err)
		}
		if !info.IsDir() {
			paths = append(paths, arg)
			continue
		}
		below, err := ruleTestFilesBelow(arg)
		if err != nil {
			return nil, namedError("", err)
		}
		if len(below) == 0 {
			return nil, usagef("no *_test.yaml below %s; name files or directories", printable(arg))
		}
		paths = append(paths, below...)
	}
	slices.Sort(paths)
	return slices.Compact(paths), nil
}

func ruleTestFilesBelow(dir string) (paths []string, err error) {
	err = filepath.WalkDir(dir, func(p string, entry fs.DirEntry, err error) error {
		name := entry.Name()
		switch {
		case err != nil:
			return err
		case entry.IsDir() && strings.HasPrefix(name, ".") && p != dir:
			return filepath.SkipDir
		case !entry.IsDir() && (strings.HasSuffix(name, "_test.yaml") || strings.HasSuffix(name, "_test.yml")):
			paths = append(paths, p)
		}
		return nil
	})
	return paths, err
}
