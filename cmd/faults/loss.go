package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"trailhound/cmd/internal/testbed"
)

// The ways in which Kafka loses input, or forgets how far it was read. The service is to lose
// nothing that is still there, and to stop with a sentence about the records that are not.

const (
	stopWithin  = 30 * time.Second // an instance that is to stop at its start
	knownWithin = 90 * time.Second // positions, leaders, members that are gone
)

// unclean shows the effect of an unclean election: the input's leader is lost with events
// that no other replica has.
func unclean(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return lose(ctx, "unclean", 3, args, stdout, stderr, (*loss).unclean)
}

// expired shows the effect of losing a group's committed offsets, with all unread input
// there and with some deleted.
func expired(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return lose(ctx, "expired", 1, args, stdout, stderr, (*loss).expired)
}

// loss is one run of a scenario, with one instance and an input of one partition.
type loss struct {
	*suite
	client *kgo.Client
	sent   int
	check  *check
	failed []string // expectations that were not met
}

func lose(ctx context.Context, name string, brokers int, args []string, stdout, stderr io.Writer, scenario func(*loss, context.Context) error) int {
	flags := flag.NewFlagSet("faults "+name, flag.ContinueOnError)
	flags.SetOutput(stderr)
	o := options{brokers: brokers, instances: 1}
	flags.StringVar(&o.dir, "dir", "", "an empty directory for everything, which is kept (default: a temporary one, kept on failure)")
	flags.StringVar(&o.heap, "heap", "320m", "Java heap of each broker")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return exitDone
		}
		return exitUsage
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "faults %s takes no arguments, only flags: %q\n", name, flags.Arg(0))
		return exitUsage
	}
	work := func(ctx context.Context, s *suite) (bool, error) {
		l := &loss{suite: s, check: newCheck(checkSettings{})}
		var err error
		l.client, err = kgo.NewClient(kgo.SeedBrokers(s.cluster.addresses...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MetadataMinAge(100*time.Millisecond))
		if err != nil {
			return false, err
		}
		defer l.client.Close()
		if err := scenario(l, ctx); err != nil {
			return false, err
		}
		if err := l.check.judge().write(stdout, false); err != nil {
			return false, err
		}
		for _, f := range l.failed {
			fmt.Fprintln(stdout, "FAILED:", f)
		}
		return len(l.failed) == 0 && l.check.passed() && len(l.check.Alerts) > 0, nil
	}
	return play(ctx, o, stdout, stderr, work, func(s *suite) {
		s.later, s.inputs, s.config = true, 1, shortTimeouts+commonConfig
		if name == "unclean" {
			s.prepare = s.createUnclean
		}
	})
}

// createUnclean makes the input topic with two replicas, and allows a replica out of sync
// to become the leader.
func (s *suite) createUnclean(ctx context.Context) error {
	yes, one := "true", "1"
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = inputTopic, -1, -1
	t.ReplicaAssignment = []kmsg.CreateTopicsRequestTopicReplicaAssignment{{Partition: 0, Replicas: []int32{1, 2}}}
	t.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "unclean.leader.election.enable", Value: &yes}, {Name: "min.insync.replicas", Value: &one}}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 10_000
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, s.cluster.admin)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.Topics[0].ErrorCode)
}

// unclean is the scenario: events that only the lost leader had are evaluated, gone, and
// written over.
func (l *loss) unclean(ctx context.Context) error {
	steps := []func() error{
		func() error { return l.send(ctx, "kept", 5, 5) },
		func() error { return l.serve(ctx, 25) },
		func() error { return l.cluster.kill(ctx, 2) },
		func() error { return l.send(ctx, "lost", 10, 10) },
		func() error { return l.serve(ctx, 125) },
		func() error { l.fleet.terminate(1); return l.cluster.kill(ctx, 1) },
		func() error { _, err := l.cluster.kafka(ctx, "up", "-d", l.cluster.dir, "2"); return err },
		func() error { return l.awaitLeader(ctx, 2) },
		func() error { return l.send(ctx, "kept", 5, 5) },
		func() error { return l.send(ctx, "new", 20, 10) },
		func() error { return l.cluster.up(ctx, 1) },
		func() error { return l.stops(ctx) },
		func() error { l.fleet.instance(1).flags = []string{"--accept-loss"}; return l.serve(ctx, 250) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	l.fleet.terminate(1)
	if err := l.check.readTopics(ctx, l.cluster.addresses, []string{inputTopic}, alertsTopic, deadLetterTopic); err != nil {
		return err
	}
	for s := range l.check.alerts { // their events were evaluated, and are gone
		if strings.Contains(s.key, "/lost-") {
			delete(l.check.alerts, s)
		}
	}
	return nil
}

// expired is the scenario.
func (l *loss) expired(ctx context.Context) error {
	steps := []func() error{
		func() error { return l.send(ctx, "kept", 5, 5) },
		func() error { return l.serve(ctx, 25) },
		func() error { l.fleet.terminate(1); return l.forgetOffsets(ctx) },
		func() error { return l.send(ctx, "kept", 5, 5) },
		func() error { return l.serve(ctx, 50) },
		func() error { l.fleet.terminate(1); return l.forgetOffsets(ctx) },
		func() error { return l.send(ctx, "gone", 2, 10) },
		func() error { return l.send(ctx, "new", 5, 10) },
		func() error { return l.readInput(ctx) },
		func() error { return l.deleteRecords(ctx, 70) },
		func() error { return l.stops(ctx) },
		func() error { l.fleet.instance(1).flags = []string{"--accept-loss"}; return l.serve(ctx, 120) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	l.fleet.terminate(1)
	for at := range l.check.calls {
		if at.Offset >= 50 && at.Offset < 70 {
			l.check.dead[at] = []string{""} // deleted before it was read
		}
	}
	return l.check.readTopics(ctx, l.cluster.addresses, nil, alertsTopic, deadLetterTopic)
}

// send sends denials of so many principals, so many of each, and waits until they are acknowledged.
func (l *loss) send(ctx context.Context, name string, principals, each int) error {
	ctx, cancel := context.WithTimeout(ctx, knownWithin)
	defer cancel()
	for range each {
		for p := range principals {
			arn := fmt.Sprintf("arn:aws:iam::111122223333:user/%s-%d", name, p)
			e := &made{Version: "1.11", Identity: jsonf(`{"type":"IAMUser","arn":%q}`, arn), Time: written(firstTime.Add(time.Duration(l.sent) * time.Second)),
				Source: "s3.amazonaws.com", Name: "GetObject", Region: regions[0], IP: "198.51.100.7", ErrorCode: "AccessDenied",
				Request: jsonf("null"), Response: jsonf("null"), ID: fmt.Sprintf("event-%d", l.sent), Account: "111122223333"}
			l.sent++
			if err := l.client.ProduceSync(ctx, &kgo.Record{Topic: inputTopic, Value: e.json()}).FirstErr(); err != nil {
				return fmt.Errorf("send event %d: %w", l.sent, err)
			}
		}
	}
	return nil
}

// serve starts the instance, unless it runs, and returns when the input is evaluated up to an offset.
func (l *loss) serve(ctx context.Context, end int64) error {
	ctx, cancel := context.WithTimeout(ctx, knownWithin)
	defer cancel()
	if err := l.fleet.start(1); err != nil {
		return err
	}
	for testbed.Sleep(ctx, 200*time.Millisecond) {
		committed, err := l.cluster.committed(ctx, appID, inputTopic)
		if err == nil && committed[0] == end && l.worked(ctx) == nil {
			return nil
		}
	}
	return fmt.Errorf("the input is not evaluated up to offset %d after %s", end, knownWithin)
}

// stops starts the instance and expects that it ends by itself with a sentence that tells how to go on.
func (l *loss) stops(ctx context.Context) error {
	cmd := l.fleet.command(1, "run")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	late := time.NewTimer(stopWithin)
	defer late.Stop()
	select {
	case err := <-done:
		words := strings.TrimSpace(out.String())
		last := words[strings.LastIndex(words, "\n")+1:]
		l.log.printf("t1 ended: %s", last)
		if err == nil || !strings.Contains(last, "accept-loss") && !strings.Contains(last, "accept_loss") {
			l.failed = append(l.failed, "it ended without a sentence that names --accept-loss: "+last)
		}
	case <-late.C:
		l.failed = append(l.failed, "records are gone, and it went on without a word")
		_ = cmd.Process.Kill()
		_ = <-done
	case <-ctx.Done():
		_ = cmd.Process.Kill()
		_ = <-done
	}
	return ctx.Err()
}

// awaitLeader waits until a broker leads the input.
func (l *loss) awaitLeader(ctx context.Context, broker int32) error {
	ctx, cancel := context.WithTimeout(ctx, knownWithin)
	defer cancel()
	for testbed.Sleep(ctx, 200*time.Millisecond) {
		topics, err := l.cluster.metadata(ctx, 0)
		if err != nil {
			continue
		}
		for _, t := range topics {
			if *t.Topic == inputTopic && t.Partitions[0].Leader == broker {
				return nil
			}
		}
	}
	return fmt.Errorf("broker %d does not lead the input after %s", broker, knownWithin)
}

// forgetOffsets deletes the group's committed offsets, as Kafka does after offsets.retention.minutes.
func (l *loss) forgetOffsets(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, knownWithin)
	defer cancel()
	t := kmsg.NewOffsetDeleteRequestTopic()
	t.Topic, t.Partitions = inputTopic, []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 0}}
	req := kmsg.NewPtrOffsetDeleteRequest()
	req.Group, req.Topics = appID, append(req.Topics, t)
	for testbed.Sleep(ctx, 500*time.Millisecond) {
		var resp *kmsg.OffsetDeleteResponse
		if resp, err = req.RequestWith(ctx, l.cluster.admin); err != nil {
			continue
		}
		err = kerr.ErrorForCode(resp.ErrorCode)
		if err == nil {
			err = kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode) // it is subscribed until its last member's session ends
		}
		if err == nil {
			l.log.printf("the committed offsets are gone")
			return nil
		}
	}
	return fmt.Errorf("delete the group's offsets: %w", err)
}

// deleteRecords deletes the input below an offset, as retention does.
func (l *loss) deleteRecords(ctx context.Context, below int64) error {
	t := kmsg.NewDeleteRecordsRequestTopic()
	t.Topic, t.Partitions = inputTopic, []kmsg.DeleteRecordsRequestTopicPartition{{Partition: 0, Offset: below}}
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis, req.Topics = 10_000, append(req.Topics, t)
	resp, err := req.RequestWith(ctx, l.cluster.admin)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
}

// readInput takes in the input before it is deleted.
func (l *loss) readInput(ctx context.Context) error {
	v := newVerifier(l.cluster.addresses, verifyTopics{}, oracleSettings{})
	if err := v.open(); err != nil {
		return err
	}
	defer v.close()
	ends, err := v.stableEnds(ctx, inputTopic)
	if err != nil {
		return err
	}
	return v.each(ctx, inputTopic, ends, func(r *kgo.Record) {
		l.check.input(r.Value, place{Topic: inputTopic, Partition: r.Partition, Offset: r.Offset})
	})
}
