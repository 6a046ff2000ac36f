package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"trailhound/cmd/internal/testbed"
)

const (
	readyWithin = time.Minute
	stopWithin  = 40 * time.Second // the product waits 15 s for brokers that do not answer, and each request has its time-out
)

// child is a process that is measured.
type child struct {
	*testbed.Process
	name, listen string
}

// subject is the product with an application id of its own, which begins at the start of its input.
type subject struct {
	app, input, listen, alerts string
	args                       []string // of every command
}

// topicsOf returns the topics that belong to an application alone.
func topicsOf(app string) []string {
	return []string{app + "-alerts", app + "-dead-letter", app + ".work", app + ".state"}
}

// newSubject makes an application and its topics.
func (b *bench) newSubject(ctx context.Context, input string) (*subject, error) {
	app := fmt.Sprintf("%s-%d", b.id, len(b.apps)+1)
	b.apps = append(b.apps, app)
	listen, err := address()
	if err != nil {
		return nil, err
	}
	own := topicsOf(app)
	s := &subject{app: app, input: input, listen: listen, alerts: own[0]}
	s.args = settings{
		"app_id=" + app, "instance_id=" + app, "kafka.brokers=" + strings.Join(b.addresses, ","), "topics.input=" + input,
		"topics.alerts=" + s.alerts, "topics.dead_letter=" + own[1], "shards=" + strconv.Itoa(b.shards),
		"state_dir=" + filepath.Join(b.dir, app), "http.listen=" + listen,
	}.args()
	s.args = append(s.args, b.sets.args()...)
	cmd := testbed.Command(b.binary, append([]string{"topics", "create"}, s.args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("trailhound topics create: %w: %s", err, out)
	}
	return s, ctx.Err()
}

// discard deletes the topics and the local state of the application.
func (b *bench) discard(ctx context.Context, s *subject) error {
	return errors.Join(b.deleteTopics(ctx, topicsOf(s.app)...), os.RemoveAll(filepath.Join(b.dir, s.app)))
}

// address returns a free address for an HTTP server.
func address() (string, error) {
	l, err := testbed.Reserve(1)
	if err != nil {
		return "", err
	}
	defer l[0].Close()
	return l[0].Addr().String(), nil
}

// launch starts "trailhound run".
func (b *bench) launch(s *subject) (*child, error) {
	return b.spawn("trailhound", s.listen, b.binary, append([]string{"run"}, s.args...)...)
}

// launchAlone starts the consumer that only reads the input.
func (b *bench) launchAlone(in input) (*child, error) {
	listen, err := address()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return b.spawn("consuming alone", listen, self, aloneMode, "-listen", listen, "-brokers", strings.Join(b.addresses, ","),
		"-topic", in.topic, "-partitions", strconv.Itoa(in.partitions))
}

func (b *bench) spawn(name, listen, binary string, args ...string) (*child, error) {
	cmd := testbed.Command(binary, args...)
	if b.procs > 0 {
		cmd.Env = append(cmd.Env, "GOMAXPROCS="+strconv.Itoa(b.procs))
	}
	log := filepath.Join(b.dir, fmt.Sprintf("%s-%d.log", strings.ReplaceAll(name, " ", "-"), time.Now().UnixNano()))
	p, err := testbed.Start(cmd, log)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return &child{Process: p, name: name, listen: listen}, nil
}

func (c *child) pid() int { return c.Cmd.Process.Pid }

// ready waits until the child serves.
func (c *child) ready(ctx context.Context, every time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for {
		err := testbed.Ready(ctx, c.listen)
		if err == nil {
			return nil
		}
		if !c.Running() {
			return c.ended()
		}
		if !testbed.Sleep(ctx, every) {
			return fmt.Errorf("%s is not ready: %w", c.name, err)
		}
	}
}

// ended is the error of a child that has ended by itself, with the last words of its log.
func (c *child) ended() error {
	text, err := os.ReadFile(c.Log)
	if err != nil {
		return fmt.Errorf("%s has ended by itself: %w", c.name, err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return fmt.Errorf("%s has ended by itself (%s); its last words:\n    %s", c.name, c.Cmd.ProcessState, strings.Join(lines[max(0, len(lines)-5):], "\n    "))
}

// stop sends SIGTERM and waits for the end, which is to be orderly.
func (c *child) stop() error {
	if !c.Running() {
		return c.ended()
	}
	_ = c.Cmd.Process.Signal(syscall.SIGTERM) // it may have ended in this moment
	late := time.NewTimer(stopWithin)
	defer late.Stop()
	select {
	case <-c.Done:
		if c.Err != nil {
			return c.ended()
		}
		return nil
	case <-late.C:
		c.kill()
		return fmt.Errorf("%s had not ended %s after SIGTERM, and was killed", c.name, stopWithin)
	}
}

// kill ends the child with SIGKILL, if it has not ended.
func (c *child) kill() {
	_ = c.Cmd.Process.Kill() // it may have ended
	<-c.Done
}
