package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// The exit codes of every command.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2 // the command line or the configuration is wrong: another start would end the same way

	exitDifferent = 3 // of replay --diff
)

// app holds the streams and the environment of the process, and the flags of all commands.
// Commands share its methods. A command returns an error for execute to report, and writes
// results to stdout and all else to stderr.
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
