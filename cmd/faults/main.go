// Command faults proves the promise of trailhound on real brokers: no alert is lost, none is doubled, none is wrong.
//
// It starts Kafka brokers and instances of the service as processes of their own, feeds
// them events with known alerts, and injects faults: kill -9, frozen processes, dead
// brokers, moving leaders, bad connections, lost and damaged disks. At the end it compares
// the alerts with the right answer. The plan of the faults is a function of --seed.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"trailhound/cmd/internal/testbed"
)

// modes are the other things that the command can do, by its first argument.
var modes = map[string]func(ctx context.Context, args []string, stdout, stderr io.Writer) int{
	"expired":  expired,       // lets the committed offsets expire
	"unclean":  unclean,       // loses the end of the input by an unclean election
	"failover": failover,      // measures how soon alerts flow again
	"backlog":  backlog,       // compares the alerts of a backlog with those of the same events in the order of time
	"spread":   spreadCommand, // makes a large input of a set of events
	"verify":   verify,        // checks alerts against their input, in files or topics
	"stalls":   stalls,        // measures how soon a stall is told, and over
	"soak":     soak,          // shows whether an instance grows with time
}

func main() {
	testbed.OutliveReaders()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	mode, args := run, os.Args[1:]
	if len(args) > 0 && modes[args[0]] != nil {
		mode, args = modes[args[0]], args[1:]
	}
	code := mode(ctx, args, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
