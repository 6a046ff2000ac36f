// Command bench measures trailhound: how many events a second it works off beside a program
// that only reads the topic, how long an alert takes, the CPU and memory that it costs, and
// how soon it serves after a start.
//
// It starts a Kafka broker, fills a topic with made-up CloudTrail events, and runs the product as
// a process of its own, built from this checkout. README.md explains each figure.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"trailhound/cmd/internal/testbed"
)

func main() {
	testbed.OutliveReaders()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
