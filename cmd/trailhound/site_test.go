package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/twmb/franz-go/pkg/kgo"

	"trailhound/consumer"
	"trailhound/consumer/kafka/topic"
	"trailhound/consumer/kafka/wire"
)

// site is one app on a cluster: its configuration file, its topics and the programs that run there.
type site struct {
	*testing.T
	brokers []string
	dir     string // the state directory is below it
	config  string // the file
	app     topic.App
	client  *wire.Client
	admin   *kgo.Client
	env     []string // of processes
	running []*program
}

// newSite creates an app's topics on a cluster. Each setting is PATH=VALUE as for --set.
func newSite(t *testing.T, brokers []string, inputPartitions int, set ...string) *site {
	t.Helper()
	s := &site{T: t, brokers: brokers, dir: t.TempDir(), admin: kafkaClient(t, brokers)}
	s.config = filepath.Join(s.dir, "trailhound.yaml")
	id := uniqueName()
	text := fmt.Sprintf(`app_id: %[1]s
kafka: {brokers: [%[2]s], session_timeout: 6s, request_timeout: 5s, transaction_timeout: 10s}
topics: {input: [%[1]s-in], alerts: %[1]s-alerts, dead_letter: %[1]s-dead, alert_partitions: 2}
state_dir: %[3]s
http: {listen: ""}
`, id, strings.Join(brokers, ", "), filepath.Join(s.dir, "state"))
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	setup, err := (&app{configFile: s.config, set: set}).setup()
	if err != nil {
		t.Fatal(err)
	}
	s.app = setup.topology()
	deleteAtEnd(t, brokers, append(s.app.Inputs, s.app.Alerts, s.app.DeadLetter, s.app.WorkTopic(), s.app.StateTopic())...)
	if inputPartitions > 0 {
		s.must("", append(sets(set), "topics", "create", "--input-partitions", fmt.Sprint(inputPartitions))...)
	}
	if s.client, err = setup.connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.client.Close)
	return s
}

// sets returns the flags for settings.
func sets(set []string) []string {
	var args []string
	for _, pair := range set {
		args = append(args, "--set", pair)
	}
	return args
}

// command runs one command line of the site to its end.
func (s *site) command(stdin string, args ...string) result {
	return command(s.Context(), stdin, nil, append([]string{"--config", s.config}, args...)...)
}

// must is command for one that must not fail.
func (s *site) must(stdin string, args ...string) result {
	s.Helper()
	r := s.command(stdin, args...)
	if r.code != exitDone {
		s.Fatalf("trailhound %q = %d with %q; want 0", args, r.code, r.stderr)
	}
	return r
}

// input returns the records of the input topic, read by partition and offset.
func (s *site) input() []*kgo.Record { return committed(s, s.brokers, s.app.Inputs[0]) }

// send writes values to a partition of the input topic.
func (s *site) send(partition int32, values ...string) {
	s.Helper()
	var records []*kgo.Record
	for _, v := range values {
		records = append(records, &kgo.Record{Topic: s.app.Inputs[0], Partition: partition, Value: []byte(v)})
	}
	produce(s, s.brokers, records...)
}

// alerts returns the values of the alerts that a read-committed reader sees.
func (s *site) alerts() []string {
	s.Helper()
	var out []string
	for _, rec := range committed(s, s.brokers, s.app.Alerts) {
		out = append(out, string(rec.Value))
	}
	return out
}

// grown returns a condition: records have been committed to the topic since.
func (s *site) grown(name string) func() bool {
	sum := func() (n int64) {
		ends, err := endOffsets(s, s.admin, name, true)
		if err != nil {
			s.Logf("look up the ends of topic %s: %v", name, err)
		}
		for _, end := range ends {
			n += end
		}
		return n
	}
	before := sum()
	return func() bool { return sum() > before }
}

// await is await that fails as soon as a running program has ended.
func (s *site) await(what string, ok func() bool) {
	s.Helper()
	await(s, what, func() bool {
		for _, p := range s.running {
			if p.over() {
				s.Fatalf("while waiting for %s: %s has ended with %d:\n%s", what, p.name, p.code, &p.stderr)
			}
		}
		return ok()
	})
}

// drain waits until all input is evaluated, and until its results can be read: a committed
// transaction shows only once its end is marked in each partition.
func (s *site) drain() {
	s.Helper()
	s.await("the app to read its input", func() bool {
		lag, err := consumer.Lag(s.Context(), s.client, s.app)
		return err == nil && lag == 0
	})
	for _, name := range []string{s.app.Alerts, s.app.DeadLetter} {
		s.await("the last transactions to be marked in "+name, func() bool {
			stable, err := endOffsets(s, s.admin, name, true)
			end, err2 := endOffsets(s, s.admin, name, false)
			return cmp.Or(err, err2) == nil && maps.Equal(stable, end)
		})
	}
}

// output collects a program's output while a test reads it.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func (o *output) has(text string) bool { return strings.Contains(o.String(), text) }

// program is one command under way: a process of its own, or a call of run.
type program struct {
	*site
	name           string
	stdout, stderr output
	process        *os.Process // nil: a call
	cancel         context.CancelFunc
	ended          chan struct{}
	code           int              // after ended; -1: by a signal
	state          *os.ProcessState // after ended
}

// call begins run with the command line.
func (s *site) call(args ...string) *program {
	p := s.program(args)
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.Context()))
	p.cancel = cancel
	go func() {
		defer close(p.ended)
		p.code = run(ctx, append([]string{"--config", s.config}, args...), strings.NewReader(""), &p.stdout, &p.stderr, nil)
	}()
	s.Cleanup(func() { p.end() })
	return p
}

// start begins a process with the command line.
func (s *site) start(args ...string) *program {
	s.Helper()
	return s.startUnder(nil, args...)
}

// startUnder begins a process with the command line as the last arguments of another
// program, which starts it.
func (s *site) startUnder(starter []string, args ...string) *program {
	s.Helper()
	p := s.program(args)
	executable, err := os.Executable()
	if err != nil {
		s.Fatal(err)
	}
	line := slices.Concat(starter, []string{executable, "--config", s.config}, args)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Env, cmd.Dir = append([]string{asProgram + "=1", "TMPDIR=" + s.dir}, s.env...), s.dir
	cmd.Stdout, cmd.Stderr = &p.stdout, &p.stderr
	if err := cmd.Start(); err != nil {
		s.Fatal(err)
	}
	p.process = cmd.Process
	go func() {
		defer close(p.ended)
		if err := cmd.Wait(); err != nil && !errors.As(err, new(*exec.ExitError)) {
			fmt.Fprintln(&p.stderr, err)
		}
		p.code, p.state = cmd.ProcessState.ExitCode(), cmd.ProcessState
	}()
	s.Cleanup(func() {
		if !p.over() {
			p.kill()
		}
	})
	return p
}

func (s *site) program(args []string) *program {
	p := &program{site: s, name: fmt.Sprintf("trailhound %q", args), ended: make(chan struct{})}
	s.running = append(s.running, p)
	s.Cleanup(func() {
		if s.Failed() {
			s.Logf("%s wrote:\n%s", p.name, &p.stderr)
		}
	})
	return p
}

func (p *program) over() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// expectEnd lets the program end from now on.
func (p *program) expectEnd() {
	p.running = slices.DeleteFunc(p.running, func(q *program) bool { return p == q })
}

// wait returns the exit code once the program has ended.
func (p *program) wait() int {
	p.Helper()
	p.expectEnd()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.Errorf("%s has not ended after %s", p.name, patience)
		if p.process != nil {
			p.signal(syscall.SIGQUIT)
			<-p.ended
		}
	}
	return p.code
}

// end interrupts a call, and returns its exit code.
func (p *program) end() int {
	p.Helper()
	p.expectEnd()
	p.cancel()
	return p.wait()
}

func (p *program) signal(s os.Signal) {
	p.Helper()
	if err := p.process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.Fatal(err)
	}
}

// kill is kill -9.
func (p *program) kill() {
	p.Helper()
	p.expectEnd()
	p.signal(syscall.SIGKILL)
	p.wait()
}

// schema is the published schema of an alert.
var schema = sync.OnceValue(func() *jsonschema.Schema {
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	return c.MustCompile("../../deploy/alert.schema.json")
})

// checkAlert checks that an alert is one line that matches the schema.
func checkAlert(t testing.TB, alert string) {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(alert))
	if err == nil {
		err = schema().Validate(value)
	}
	if err != nil || strings.ContainsAny(alert, "\r\n") {
		t.Errorf("%s is no alert of one line: %v", alert, err)
	}
}

// lines splits the results of a command.
func lines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}
