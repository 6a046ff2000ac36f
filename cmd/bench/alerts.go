package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os/exec"
	"time"

	"trailhound/cmd/internal/testbed"
	"trailhound/consumer/kafka/wire"
)

// answer is the alerts of some events, without regard to their order.
type answer struct {
	count  int
	digest uint64 // of their ids
}

// add takes one alert, as the alerts topic and detect have it.
func (a *answer) add(payload []byte) error {
	var alert struct{ ID string }
	if err := json.Unmarshal(payload, &alert); err != nil || alert.ID == "" {
		return fmt.Errorf("this is no alert: %.200s", payload)
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(alert.ID)) // a hash never fails
	a.count++
	a.digest += h.Sum64()
	return nil
}

// committedAlerts returns the alerts that a read-committed reader finds in a topic.
func committedAlerts(ctx context.Context, client *wire.Client, topic string) (a answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	topics, err := client.Topics(ctx, topic)
	if err != nil {
		return a, err
	}
	if err := topics[topic].Err; err != nil {
		return a, fmt.Errorf("topic %s: %w", topic, err)
	}
	for _, p := range topics[topic].Partitions {
		var got wire.Fetched
		for {
			req := wire.FetchRequest{Topic: topic, Partition: p.Index, Offset: got.Next, MaxWait: 100 * time.Millisecond, ReadCommitted: true}
			if err := client.Fetch(ctx, req, &got); err != nil {
				return a, fmt.Errorf("read topic %s partition %d: %w", topic, p.Index, err)
			}
			var bad error
			if err := got.Each(func(r *wire.Record) bool { bad = a.add(r.Value); return bad == nil }); err != nil || bad != nil {
				return a, errors.Join(err, bad)
			}
			if got.Next >= got.LastStable {
				break
			}
		}
	}
	return a, nil
}

// oracle is a "trailhound detect" that is given events and finds the alerts that the service has to find too.
type oracle struct {
	in    *bufio.Writer
	pipe  io.Closer
	cmd   *exec.Cmd
	found chan error // the end of reading its output
	answer
}

// newOracle starts trailhound detect. Events that no rule looks at need not be passed to it.
func newOracle(binary string, sets settings) (*oracle, error) {
	o := &oracle{cmd: testbed.Command(binary, append(append([]string{"detect"}, sets.args()...), "-")...), found: make(chan error, 1)}
	in, err := o.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := o.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	o.in, o.pipe = bufio.NewWriterSize(in, 1<<20), in
	if err := o.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { o.found <- o.read(out) }()
	return o, nil
}

func (o *oracle) read(out io.Reader) error {
	lines := bufio.NewScanner(out)
	lines.Buffer(make([]byte, 1<<20), 64<<20)
	for lines.Scan() {
		if err := o.add(lines.Bytes()); err != nil {
			return err
		}
	}
	return lines.Err()
}

// tell passes an event to detect.
func (o *oracle) tell(value []byte) error {
	if _, err := o.in.Write(value); err != nil {
		return fmt.Errorf("trailhound detect: %w", err)
	}
	return o.in.WriteByte('\n')
}

// close ends the input of detect and waits for the last alert.
func (o *oracle) close() (answer, error) {
	err := o.in.Flush()
	err = errors.Join(err, o.pipe.Close(), <-o.found, o.cmd.Wait())
	if err != nil {
		return answer{}, fmt.Errorf("trailhound detect: %w", err)
	}
	return o.answer, nil
}

// kill ends detect with its input unfinished.
func (o *oracle) kill() {
	_ = o.cmd.Process.Kill() // it may have ended
	_ = <-o.found
	_ = o.cmd.Wait()
}
