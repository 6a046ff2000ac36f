package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"trailhound/cmd/internal/testbed"
)

const (
	restartAfter = time.Second      // a supervisor starts an instance again that has ended by itself
	endWithin    = 40 * time.Second // after SIGTERM: the service waits 15 s for brokers that do not answer, and each request has its time-out
)

// fleet is the instances of the product, each a process with a state directory, a port and a proxy of its own.
// Instances are numbered from 1. Like a supervisor it starts those again that end by themselves.
type fleet struct {
	binary, dir string
	instances   []*instance
	ended       func(exit) // told of each instance that ends by itself or badly
}

// instance is one instance of the product. A fault that takes the process down holds lock
// until it is up again.
type instance struct {
	lock   sync.Mutex
	number int
	config string
	state  string   // state_dir
	listen string   // http.listen
	flags  []string // of run, beside the configuration

	mu      sync.Mutex
	starts  int
	process *process // nil: never started
	wanted  bool     // it is to run
}

// process is one run of an instance.
type process struct {
	*testbed.Process
	expected bool // its end was asked for
}

// exit is the end of a process that was not asked for, or was not orderly.
type exit struct {
	Instance int
	Status   string
	Ran      time.Duration
	Log      string   // file
	Last     []string // lines of it
	Started  bool     // it had got as far as to serve
	Crashed  bool     // by a panic or the like
	Why      string   // the fault that explains it; "": none
}

func (e exit) String() string {
	text := fmt.Sprintf("instance t%d ended by itself (%s) after %s: ", e.Instance, e.Status, e.Ran.Round(time.Millisecond))
	if e.Why != "" {
		return text + e.Why + ": " + e.Last[len(e.Last)-1]
	}
	return text + "NOTHING EXPLAINS IT; its last words in " + e.Log + ":\n    " + strings.Join(e.Last, "\n    ")
}

// newFleet prepares instances; none is started. Text holds the configuration that all have in common, and bootstrap
// returns the brokers of each, stateDir its state_dir.
func newFleet(binary, dir, text string, instances int, bootstrap func(int) []string, stateDir func(int) string) (*fleet, error) {
	f := &fleet{binary: binary, dir: dir, ended: func(exit) {}}
	for i := 1; i <= instances; i++ {
		listener, err := testbed.Reserve(1)
		if err != nil {
			return nil, err
		}
		listener[0].Close()
		name := "t" + strconv.Itoa(i)
		n := &instance{
			number: i, config: filepath.Join(dir, name+".yaml"), state: stateDir(i), listen: listener[0].Addr().String(),
		}
		own := fmt.Sprintf("instance_id: %s\nstate_dir: %s\nhttp:\n  listen: %s\nlog:\n  format: json\nkafka:\n  brokers: [%s]\n%s",
			name, n.state, n.listen, `"`+strings.Join(bootstrap(i), `","`)+`"`, text)
		if err := os.WriteFile(n.config, []byte(own), 0o600); err != nil {
			return nil, err
		}
		f.instances = append(f.instances, n)
	}
	return f, nil
}

func (f *fleet) instance(i int) *instance { return f.instances[i-1] }

// command returns a command line of the product with the configuration of instance i.
func (f *fleet) command(i int, args ...string) *exec.Cmd {
	cmd := testbed.Command(f.binary, append([]string{"--config", f.instance(i).config}, args...)...)
	cmd.Dir = f.dir
	return cmd
}

// start starts instance i, unless it runs.
func (f *fleet) start(i int) error {
	n := f.instance(i)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.wanted = true
	return f.launch(n)
}

// launch starts a process; n.mu is held.
func (f *fleet) launch(n *instance) error {
	if n.running() {
		return nil
	}
	n.starts++
	log := filepath.Join(f.dir, fmt.Sprintf("t%d-%03d.log", n.number, n.starts))
	child, err := testbed.Start(f.command(n.number, append([]string{"run"}, n.flags...)...), log)
	if err != nil {
		return fmt.Errorf("start instance t%d: %w", n.number, err)
	}
	n.process = &process{Process: child}
	go f.watch(n, n.process)
	return nil
}

// running tells whether the process has not ended; n.mu is held.
func (n *instance) running() bool {
	return n.process != nil && n.process.Running()
}

// watch waits for the end of a process, and starts the instance again if that was not asked for.
func (f *fleet) watch(n *instance, p *process) {
	<-p.Done
	n.mu.Lock()
	expected := p.expected
	n.mu.Unlock()
	if expected {
		return
	}
	f.ended(p.exit(n.number))
	time.AfterFunc(restartAfter, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.wanted && n.process == p {
			_ = f.launch(n) // the same launch has succeeded before
		}
	})
}

// exit describes how a process has ended.
func (p *process) exit(number int) exit {
	text, err := os.ReadFile(p.Log)
	if err != nil {
		text = []byte(err.Error())
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return exit{
		Instance: number, Status: p.Cmd.ProcessState.String(), Ran: time.Since(p.Begun), Log: p.Log,
		Last: lines[max(0, len(lines)-5):], Started: strings.Contains(string(text), `"message":"started"`),
		Crashed: bytes.Contains(text, []byte("\npanic: ")) || bytes.HasPrefix(text, []byte("panic: ")) || bytes.Contains(text, []byte("fatal error: ")),
	}
}

// signal sends sig to instance i; last says that the process will end by that.
func (f *fleet) signal(i int, sig syscall.Signal, last bool) *process {
	n := f.instance(i)
	n.mu.Lock()
	defer n.mu.Unlock()
	if last {
		n.wanted = false
	}
	if !n.running() {
		return nil
	}
	n.process.expected = n.process.expected || last
	_ = n.process.Cmd.Process.Signal(sig) // it may have ended in this moment
	return n.process
}

// kill is kill -9 of instance i.
func (f *fleet) kill(i int) {
	if p := f.signal(i, syscall.SIGKILL, true); p != nil {
		<-p.Done
	}
}

// terminate sends SIGTERM to instance i and waits for its end, which is to be orderly. It returns how long that took.
func (f *fleet) terminate(i int) time.Duration {
	begun := time.Now()
	p := f.signal(i, syscall.SIGTERM, true)
	if p == nil {
		return 0
	}
	late := time.NewTimer(endWithin)
	defer late.Stop()
	select {
	case <-p.Done:
		if p.Err != nil && !p.endedAtBirth() {
			f.ended(p.exit(i))
		}
	case <-late.C:
		f.kill(i)
		e := p.exit(i)
		e.Status = fmt.Sprintf("it had not ended %s after SIGTERM", endWithin)
		f.ended(e)
	}
	return time.Since(begun)
}

// endedAtBirth tells whether a process ended by SIGTERM before it had written a line: it was milliseconds
// old, and did not catch signals yet.
func (p *process) endedAtBirth() bool {
	log, err := os.Stat(p.Log)
	status, ok := p.Cmd.ProcessState.Sys().(syscall.WaitStatus)
	return err == nil && log.Size() == 0 && ok && status.Signaled() && status.Signal() == syscall.SIGTERM
}

// pause is SIGSTOP, resume SIGCONT.
func (f *fleet) pause(i int)  { f.signal(i, syscall.SIGSTOP, false) }
func (f *fleet) resume(i int) { f.signal(i, syscall.SIGCONT, false) }

// wait returns when instance i serves all that is assigned to it.
func (f *fleet) wait(ctx context.Context, i int) error {
	if err := testbed.WaitReady(ctx, f.instance(i).listen, 50*time.Millisecond); err != nil {
		return fmt.Errorf("instance t%d: %w", i, err)
	}
	return nil
}

// ready returns nil if instance i serves all that is assigned to it, else an error in its words.
func (f *fleet) ready(ctx context.Context, i int) error {
	return testbed.Ready(ctx, f.instance(i).listen)
}

// metrics returns the metrics of instance i by series.
func (f *fleet) metrics(ctx context.Context, i int) (map[string]float64, error) {
	return testbed.Metrics(ctx, f.instance(i).listen)
}

// halt ends every process at once.
func (f *fleet) halt() {
	for _, n := range f.instances {
		f.kill(n.number)
	}
}

// starts is how many processes were started.
func (f *fleet) starts() int {
	n := 0
	for _, i := range f.instances {
		i.mu.Lock()
		n += i.starts
		i.mu.Unlock()
	}
	return n
}
