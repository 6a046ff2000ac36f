// Command trailhound finds suspicious behaviour in streams of AWS CloudTrail events.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"trailhound/config"
)

func main() {
	// A reader of stdout that has gone is an error of the write, which ends the command quietly.
	signal.Ignore(syscall.SIGPIPE)
	boundMemory()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(execute(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ()))
}

// execute carries out one command line and returns the exit code. The environment is a
// list, as os.Environ returns it, because a variable that fits no key is an error.
func execute(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, environment []string) int {
	a := &app{
		stdin: stdin, stdout: &results{w: stdout}, stderr: stderr, environment: environment,
		stdinTerminal: isTerminal(stdin), stdoutTerminal: isTerminal(stdout), stderrTerminal: isTerminal(stderr), screen: screenOf(stdout),
	}
	root := rootCommand(a)
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
