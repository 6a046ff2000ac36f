package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"trailhound/config"
)

// The exit codes of every command.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2 // the command line or the configuration is wrong: another start would end the same way

	exitDifferent = 3 // of replay --diff
)

// app holds the streams and the environment of the process, and the flags that every
// command takes. Its methods are what commands share. A command returns an error for run to
// report, and writes results to stdout and all else to stderr.
type app struct {
	stdin          io.Reader
	stdout         io.Writer // results; fails with errNoReader once the reader has closed the pipe
	stderr         io.Writer
	environment    []string // "NAME=value" each
	stdinTerminal  bool
	stdoutTerminal bool
	stderrTerminal bool
	screen         *os.File // stdout, if it is a terminal

	configFile string
	set        []string
}

// run executes one command line and returns the exit code. The environment is a list, as os.Environ returns it,
// because a variable that fits no key is an error.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, environment []string) int {
	a := &app{
		stdin: stdin, stdout: &results{w: stdout}, stderr: stderr, environment: environment,
		stdinTerminal: isTerminal(stdin), stdoutTerminal: isTerminal(stdout), stderrTerminal: isTerminal(stderr), screen: screenOf(stdout),
	}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(a.stdout)
	root.SetErr(stderr)
	return a.exit(root.ExecuteContext(ctx))
}

// exit reports err once, and returns the exit code for it.
func (a *app) exit(err error) int {
	if err == nil || errors.Is(err, errNoReader) {
		return exitDone
	}
	if errors.Is(err, errDifferent) {
		return exitDifferent
	}
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintln(a.stderr, "trailhound: "+printable(strings.TrimSuffix(line, "\n")))
	}
	var usage *usageError
	var problems config.Problems
	if errors.As(err, &usage) || errors.As(err, &problems) {
		return exitUsage
	}
	return exitFailed
}

// usageError is an error of the command line itself.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// getenv returns the value of a variable, or "".
func (a *app) getenv(name string) string {
	value := ""
	for _, pair := range a.environment {
		if v, ok := strings.CutPrefix(pair, name+"="); ok {
			value = v
		}
	}
	return value
}

// isTerminal tells whether a stream is one that a person looks at or types into.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
