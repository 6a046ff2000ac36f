package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"trailhound/cmd/internal/testbed"
	"trailhound/consumer/kafka/wire"
)

// bench is one run of this program.
type bench struct {
	options
	stdout, stderr io.Writer
	begun          time.Time
	dir, root      string
	binary         string // of the product
	id             string // begins the names of all topics and groups
	kafka          string // directory of the broker that was started; "": none
	addresses      []string
	client         *wire.Client
	brokerPIDs     []int
	version        string // of the broker
	apps           []string
	topics         []string // that were created
	results        *os.File // nil: none
	every          time.Duration
}

// sampleEvery is the time between two samples of a measured process.
const sampleEvery = 50 * time.Millisecond

func newBench(o options, stdout, stderr io.Writer) *bench {
	return &bench{
		options: o, stdout: stdout, stderr: stderr, begun: time.Now(), every: sampleEvery,
		id: fmt.Sprintf("bench-%08x", rand.Uint32()), version: "unknown",
	}
}

// run is the command: it is given its arguments and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == aloneMode {
		return alone(ctx, args[1:], stderr)
	}
	m, o, code := parse(args, stdout, stderr)
	if code >= 0 {
		return code
	}
	var printed bytes.Buffer
	if o.section != "" {
		stdout = io.MultiWriter(stdout, &printed)
	}
	b := newBench(o, stdout, stderr)
	err := b.prepare(ctx, m)
	if err == nil {
		err = m.work(b, ctx)
	}
	if err == nil && o.section != "" {
		err = b.appendSection(ctx, without(args, "record"), printed.String())
	}
	if ctx.Err() != nil {
		err = errors.New("interrupted; everything that was started is stopped")
	}
	if err = errors.Join(err, b.cleanUp(context.WithoutCancel(ctx))); err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return exitFailed
	}
	return exitDone
}

// prepare builds the product and starts a broker, unless there is one.
func (b *bench) prepare(ctx context.Context, m mode) (err error) {
	if b.root, err = testbed.FindRoot(); err != nil {
		return err
	}
	if b.dir, err = testbed.MakeDir(b.options.dir, "trailhound-bench-"); err != nil {
		return err
	}
	if b.json != "" {
		if b.results, err = os.OpenFile(b.json, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644); err != nil {
			return err
		}
	}
	if b.section != "" {
		file, err := os.OpenFile(b.section, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err = errors.Join(err, file.Close()); err != nil {
			return err
		}
	}
	b.say("building trailhound")
	if b.binary, err = testbed.Build(ctx, b.root, b.dir); err != nil {
		return err
	}
	if m.name != "detect" {
		if err := b.findBrokers(ctx); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(b.stdout, "%d cores, %s, %s/%s, broker %s, load %s\n", runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH, b.version, loadAverage().text(2))
	return err
}

func (b *bench) findBrokers(ctx context.Context) error {
	if b.brokers != "" {
		b.addresses = strings.Split(b.brokers, ",")
		if b.brokerPID > 0 {
			b.brokerPIDs = []int{b.brokerPID}
		}
	} else {
		b.kafka = filepath.Join(b.dir, "kafka")
		b.say("starting a broker in %s", b.kafka)
		out, err := testbed.Kafka(ctx, b.root, b.heap, "start", "-n", "1", "-d", b.kafka)
		if err != nil {
			return err
		}
		b.addresses = strings.Split(strings.TrimSpace(out), ",")
		text, err := os.ReadFile(filepath.Join(b.kafka, "1", "pid"))
		if err != nil {
			return err
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			return err
		}
		b.brokerPIDs = []int{pid}
		b.version = kafkaVersion(b.root)
	}
	b.client = wire.NewClient(b.addresses, nil, nil, nil)
	if _, err := b.client.Topics(ctx); err != nil {
		return fmt.Errorf("brokers %s: %w", strings.Join(b.addresses, ","), err)
	}
	return nil
}

// kafkaVersion is the version of the broker that kafka.sh starts.
func kafkaVersion(root string) string {
	text, err := os.ReadFile(filepath.Join(root, "deploy", "kafka", "pom.xml"))
	if err != nil {
		return "unknown"
	}
	_, rest, _ := strings.Cut(string(text), "<kafka.version>")
	version, _, ok := strings.Cut(rest, "<")
	if !ok {
		return "unknown"
	}
	return "Kafka " + version
}

// cleanUp stops the broker, and deletes the run's topics and its temporary directory.
func (b *bench) cleanUp(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if b.client != nil {
		if b.kafka == "" {
			err = b.leaveBrokers(ctx)
		}
		b.client.Close()
	}
	if b.kafka != "" {
		_, stopped := testbed.Kafka(ctx, b.root, b.heap, "stop", "-d", b.kafka)
		err = errors.Join(err, stopped)
	}
	if b.results != nil {
		err = errors.Join(err, b.results.Close())
	}
	if b.dir != "" && b.options.dir == "" {
		err = errors.Join(err, os.RemoveAll(b.dir))
	}
	return err
}

// say prints a line of progress on stderr.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.stderr, "%7s  %s\n", time.Since(b.begun).Round(100*time.Millisecond), fmt.Sprintf(format, args...))
}

// record appends a result to the file of --json.
func (b *bench) record(mode string, fields map[string]any) error {
	if b.results == nil {
		return nil
	}
	all := map[string]any{
		"mode": mode, "time": time.Now().UTC().Format(time.RFC3339), "cores": runtime.NumCPU(), "go": runtime.Version(),
		"broker": b.version, "load": loadAverage(), "set": []string(b.sets),
	}
	maps.Copy(all, fields)
	line, err := json.Marshal(all)
	if err != nil {
		return err
	}
	_, err = b.results.Write(append(line, '\n'))
	return err
}

// busyShare is how much of the machine may be at work before something is measured.
const busyShare = 0.1

// quiet looks at the machine for a second, and warns if others are at work on it.
func (b *bench) quiet(ctx context.Context) {
	before := cpuOfAll()
	if !testbed.Sleep(ctx, time.Second) {
		return
	}
	if busy := (cpuOfAll() - before) / figure(runtime.NumCPU()); busy > busyShare {
		b.say("WARNING: the machine is busy: %s %% of its %d cores, load %s; the figures will be lower than on a quiet one", (100 * busy).text(0), runtime.NumCPU(), loadAverage().text(2))
	}
}
