package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
)

// aloneMode is the argument by which this program becomes the plain consumer that the
// product is compared with. It is not in the help.
const aloneMode = "consume-alone"

// aloneSeries is the counter of records that the plain consumer has read.
const aloneSeries = "bench_records_total"

// aloneWait is how long a fetch waits for records, as in Kafka's own consumer; the Reader's own default is longer than a run.
const aloneWait = 500 * time.Millisecond

// alone reads all partitions of a topic and does nothing with the records. It serves their
// number over HTTP, as the product does, so that both are measured in the same way.
func alone(ctx context.Context, args []string, stderr io.Writer) int {
	flags := flag.NewFlagSet(aloneMode, flag.ContinueOnError)
	flags.SetOutput(stderr)
	listen := flags.String("listen", "", "HOST:PORT")
	brokers := flags.String("brokers", "", "HOST:PORT,...")
	topic := flags.String("topic", "", "what to read")
	partitions := flags.Int("partitions", 1, "of the topic")
	if flags.Parse(args) != nil {
		return exitUsage
	}
	l, err := net.Listen("tcp", *listen)
	if err == nil {
		err = consume(ctx, l, strings.Split(*brokers, ","), *topic, *partitions)
	}
	if err != nil && ctx.Err() == nil {
		fmt.Fprintln(stderr, "bench:", err)
		return exitFailed
	}
	return exitDone
}

func consume(ctx context.Context, l net.Listener, brokers []string, topic string, partitions int) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var count atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, aloneSeries, count.Load()) })
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	var all sync.WaitGroup
	all.Go(func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			fail(err)
		}
	})
	for p := range partitions {
		all.Go(func() {
			r := kafka.NewReader(kafka.ReaderConfig{Brokers: brokers, Topic: topic, Partition: p, MinBytes: 1, MaxBytes: 10 << 20, MaxWait: aloneWait})
			defer r.Close()
			for {
				if _, err := r.ReadMessage(ctx); err != nil {
					fail(fmt.Errorf("read %s partition %d: %w", topic, p, err))
					return
				}
				count.Add(1)
			}
		})
	}
	<-ctx.Done()
	server.Close()
	all.Wait()
	return context.Cause(ctx)
}
