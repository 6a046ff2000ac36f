package consumer_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"trailhound/consumer"
	"trailhound/consumer/fatal"
	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/kafka/topic"
)

// wantStop expects the instance to end by itself with a sentence that has all of words.
func (in *instance) wantStop(words ...string) {
	in.Helper()
	select {
	case err := <-in.done:
		in.done <- nil
		if err := in.store.Close(); err != nil {
			in.Errorf("Close() = %v; want nil", err)
		}
		in.store = nil
		var stop *fatal.Error
		if !errors.As(err, &stop) {
			in.Fatalf("Run() = %v; want a *fatal.Error", err)
		}
		for _, w := range words {
			if !strings.Contains(err.Error(), w) {
				in.Errorf("Run() = %q; want a sentence with %q", err, w)
			}
		}
	case <-time.After(patience):
		in.Fatalf("Run() still works after %s; want it to stop", patience)
	}
}

// deleteRecords removes all records below an offset from a partition.
func (r *rig) deleteRecords(topic string, partition int32, before int64) {
	r.Helper()
	if err := r.client.DeleteRecords(r.Context(), topic, partition, before); err != nil {
		r.Fatalf("DeleteRecords(%s, %d, %d) = %v; want nil", topic, partition, before, err)
	}
}

// remake deletes a topic and makes it again, empty and with another id.
func (r *rig) remake(name string, partitions int) {
	r.Helper()
	before, err := topic.Describe(r.Context(), r.client, name)
	if err != nil {
		r.Fatal(err)
	}
	kafkatest.Delete(r, r.brokers, name)
	app := r.app
	app.CreateInput, app.InputPartitions = true, partitions
	r.await("the topic to be made again", func() bool {
		if _, err := topic.Create(r.Context(), r.client, app); err != nil {
			return false
		}
		now, err := topic.Describe(r.Context(), r.client, name)
		return err == nil && now[name].ID != before[name].ID && now[name].ID != [16]byte{}
	})
	r.produce.Close() // it remembers the old topic
	if r.produce, err = kgo.NewClient(kgo.SeedBrokers(r.brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner())); err != nil {
		r.Fatal(err)
	}
}

// Records that retention removed before they were read are a loss: the instance
// stops and says so, and goes on only when told. PROTOCOL R4, FAILURES 7.
func TestServiceInputTrimmed(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, 1)
	fs := disk()
	first := r.start("only", fs, nil)
	r.send(&kgo.Record{Value: []byte(assume("0", "arn:r", "192.0.2.0", noon))})
	r.drain()
	first.shutdown()

	for i := range 5 {
		r.send(&kgo.Record{Value: []byte(assume(fmt.Sprint("lost", i), "arn:r", "192.0.2.1", noon))})
	}
	r.deleteRecords(r.app.Inputs[0], 0, 4)
	r.start("only", fs, nil).wantStop(r.app.Inputs[0], "partition 0", "1 to 3", "--accept-loss")

	r.start("only", fs, func(s *consumer.Service) { s.Accept.Loss = true })
	r.drain()
	r.wantAlerts([]string{"assume_role_unique_ip lost3", "assume_role_unique_ip lost4"})
}

// A committed offset beyond the end of the input is not taken for "nothing new".
func TestServiceInputShorterThanCommitted(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, 1)
	fs := disk()
	in := r.start("only", fs, nil)
	r.send(&kgo.Record{Value: []byte(assume("0", "arn:r", "192.0.2.0", noon))})
	r.drain()
	in.shutdown()

	commit := kmsg.NewPtrOffsetCommitRequest()
	commit.Group, commit.Generation = r.app.ID, -1
	tp, p := kmsg.NewOffsetCommitRequestTopic(), kmsg.NewOffsetCommitRequestTopicPartition()
	infos, err := topic.Describe(t.Context(), r.client, r.app.Inputs[0])
	if err != nil {
		t.Fatal(err)
	}
	tp.Topic, tp.TopicID, p.Offset = r.app.Inputs[0], infos[r.app.Inputs[0]].ID, 1000
	tp.Partitions = append(tp.Partitions, p)
	commit.Topics = append(commit.Topics, tp)
	r.await("the session to end, so that an offset can be committed from outside", func() bool {
		resp, err := commit.RequestWith(r.Context(), r.produce)
		return err == nil && resp.Topics[0].Partitions[0].ErrorCode == 0
	})
	r.start("only", fs, nil).wantStop(r.app.Inputs[0], "ends at 1", "1000", "--accept-loss")
}

// An input topic that was deleted and made again is read from its start: its
// offsets look old but are not. PROTOCOL R4, FAILURES 23.
func TestServiceInputMadeAgain(t *testing.T) {
	t.Parallel()
	for _, running := range []bool{false, true} {
		t.Run(fmt.Sprintf("running=%t", running), func(t *testing.T) {
			r := newRig(t, 1, 1)
			fs := disk()
			in := r.start("only", fs, nil)
			for i := range 3 {
				r.send(&kgo.Record{Value: []byte(assume(fmt.Sprint("old", i), "arn:r", fmt.Sprint("192.0.2.", i), noon))})
			}
			r.drain()
			if !running {
				in.shutdown()
			}
			r.remake(r.app.Inputs[0], 1)
			want := []string{"assume_role_unique_ip old1", "assume_role_unique_ip old2"}
			for i := range 6 { // more than the old topic had: the end of the log says nothing
				r.send(&kgo.Record{Value: []byte(assume(fmt.Sprint("new", i), "arn:r", "192.0.2.9", noon))})
				want = append(want, fmt.Sprint("assume_role_unique_ip new", i))
			}
			if !running {
				r.start("only", fs, nil)
			}
			r.await("the new topic's events to be evaluated", func() bool { return len(r.alerts()) >= len(want) })
			r.drain()
			r.wantAlerts(want)
		})
	}
}

// Instances compare the offsets of others with the id of the topic. With the id of the
// start, all inputs stood still for as long as two instances ran: each took the partitions
// of the other for ones not opened yet.
func TestServiceInputMadeAgainAligned(t *testing.T) {
	t.Parallel()
	const partitions, each = 2, 20
	r := newRig(t, partitions, 2)
	var leftOut atomic.Bool
	aligned := func(s *consumer.Service) {
		s.MaxDrift = time.Hour
		s.Log = zerolog.New(warnings(func(line string) {
			if strings.Contains(line, "input_left_out") {
				leftOut.Store(true)
			}
		}))
	}
	for i := range 2 {
		r.start(fmt.Sprint("instance", i), disk(), aligned)
	}
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	send := func(what string) {
		var records []*kgo.Record
		for i := range each {
			for p := range int32(partitions) {
				at := start.Add(time.Duration(i) * 20 * time.Minute).Format(time.RFC3339)
				records = append(records, &kgo.Record{Partition: p, Value: []byte(assume(fmt.Sprint(what, p, "-", i), "arn:"+what, fmt.Sprint("192.0.2.", p*each+int32(i)), at))})
			}
		}
		r.send(records...)
	}
	send("old")
	r.settle()
	r.await("both instances to read a partition", func() bool {
		return len(r.started[0].service.Status().Inputs) == 1 && len(r.started[1].service.Status().Inputs) == 1
	})
	old := len(r.alerts())
	r.remake(r.app.Inputs[0], partitions)
	send("new")
	r.await("the new topic's events to be evaluated", func() bool { return len(r.alerts()) == 2*old })
	r.settle()
	if leftOut.Load() {
		t.Error("a partition was left out, as one that does not move; want them to wait for each other as ever")
	}
}

// warnings is called with each line of a log.
type warnings func(line string)

func (w warnings) Write(line []byte) (int, error) {
	w(string(line))
	return len(line), nil
}

// Work that is gone before it was evaluated stops the shard. FAILURES 7.
func TestServiceWorkTrimmed(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, 1)
	fs := disk()
	in := r.start("only", fs, nil)
	r.send(&kgo.Record{Value: []byte(assume("0", "arn:r", "192.0.2.0", noon))})
	r.settle()
	in.shutdown()

	done := r.end(r.app.WorkTopic(), 0)
	junk := &kgo.Record{Topic: r.app.WorkTopic(), Value: []byte("never read")}
	for range 3 {
		if err := r.produce.ProduceSync(r.Context(), junk).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	r.deleteRecords(r.app.WorkTopic(), 0, done+2)
	r.start("only", fs, nil).wantStop(r.app.WorkTopic(), fmt.Sprintf("%d to %d", done, done+1), "--accept-loss")
}

// A work record that this build cannot read is never skipped. PROTOCOL R3, D10.
func TestServiceUnreadableWork(t *testing.T) {
	t.Parallel()
	for name, value := range map[string][]byte{"newer format": {99, 1, 2, 3}, "damaged": {1, 2, 3}} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1, 1)
			if err := r.produce.ProduceSync(r.Context(), &kgo.Record{Topic: r.app.WorkTopic(), Value: value}).FirstErr(); err != nil {
				t.Fatal(err)
			}
			r.start("only", disk(), nil).wantStop(r.app.WorkTopic(), "offset 0")
		})
	}
}

// A member with another configuration than the app's finds that out before it evaluates an
// event, and is told which key differs. PROTOCOL D10.
func TestServiceIdentity(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, 2)
	in := r.start("only", disk(), nil)
	r.send(&kgo.Record{Value: []byte(assume("0", "arn:r", "192.0.2.0", noon))})
	r.drain()
	r.await("both shards to be ready", func() bool { return in.service.Ready() == nil })
	in.shutdown()

	other := kafkatest.Topic(t, r.brokers, 1, nil)
	inputs := func(s *consumer.Service) { s.App.Inputs = []string{r.app.Inputs[0], other} }
	r.start("only", disk(), inputs).wantStop("topics.input", other, "--accept-change")
	r.start("only", disk(), func(s *consumer.Service) { s.App.Alerts = other }).wantStop("topics.alerts", other)
	accepted := r.start("only", disk(), func(s *consumer.Service) { inputs(s); s.Accept.Change = true })
	r.await("the accepted change to be worked with", func() bool { return accepted.service.Ready() == nil })
	accepted.shutdown()
	again := r.start("only", disk(), inputs)
	r.await("the change to have been remembered", func() bool { return again.service.Ready() == nil })
}

// The work topic made again has lost the work that waited in it.
func TestServiceWorkMadeAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, 1)
	fs := disk()
	in := r.start("only", fs, nil)
	r.send(&kgo.Record{Value: []byte(assume("0", "arn:r", "192.0.2.0", noon))})
	r.drain()
	in.shutdown()
	r.remake(r.app.WorkTopic(), 1)
	r.start("only", fs, nil).wantStop(r.app.WorkTopic(), "made again", "--accept-loss")
	r.start("only", fs, func(s *consumer.Service) { s.Accept.Loss = true })
	r.send(&kgo.Record{Value: []byte(assume("1", "arn:r", "192.0.2.1", noon))})
	r.drain()
	r.wantAlerts([]string{"assume_role_unique_ip 1"})
}

// The changelog made again is another log: the instance does not continue the local copy,
// and says that the state is gone. FAILURES 9.
func TestServiceStateMadeAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, 1)
	fs := disk()
	in := r.start("only", fs, nil)
	r.send(&kgo.Record{Value: []byte(assume("0", "arn:r", "192.0.2.0", noon))})
	r.drain()
	in.shutdown()
	r.remake(r.app.StateTopic(), 1)
	r.start("only", fs, nil).wantStop(r.app.StateTopic(), "shard 0 has no state", "--accept-loss")
	r.start("only", fs, func(s *consumer.Service) { s.Accept.Loss = true })
	for i := range 3 { // the first address is trusted anew
		r.send(&kgo.Record{Value: []byte(assume(fmt.Sprint(i), "arn:r", fmt.Sprint("192.0.2.", i), noon))})
	}
	r.drain()
	r.wantAlerts([]string{"assume_role_unique_ip 1", "assume_role_unique_ip 2"})
}

// An alerts topic with a lowered limit is found out by a refusal; the limit is looked up
// again, and the parts that do not fit are left out of the alert. PROTOCOL D6, FAILURES 22.
func TestServiceRefusedBatch(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, 1)
	in := r.start("only", disk(), nil)
	r.await("the instance to be ready", func() bool { return in.service.Ready() == nil })

	// The limit falls without the instance's knowledge, so that a refusal is its first sign.
	alter := kmsg.NewPtrIncrementalAlterConfigsRequest()
	res, cfg := kmsg.NewIncrementalAlterConfigsRequestResource(), kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	res.ResourceType, res.ResourceName = kmsg.ConfigResourceTypeTopic, r.app.Alerts
	cfg.Name, cfg.Value = "max.message.bytes", kmsg.StringPtr("9000")
	res.Configs = append(res.Configs, cfg)
	alter.Resources = append(alter.Resources, res)
	if resp, err := alter.RequestWith(t.Context(), r.produce); err != nil || resp.Resources[0].ErrorCode != 0 {
		t.Fatalf("alter max.message.bytes: %v %+v", err, resp)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 12_000) // does not compress
	for i := range noise {
		noise[i] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"[rng.IntN(64)]
	}
	big := strings.Replace(assume("big", "arn:r", "192.0.2.99", noon), "{", `{"userAgent":"`+string(noise)+`",`, 1)
	records := []*kgo.Record{{Value: []byte(assume("trusted", "arn:r", "192.0.2.0", noon))}}
	want := []string{}
	for i := range 40 {
		if i == 17 {
			records = append(records, &kgo.Record{Value: []byte(big)})
		}
		records = append(records, &kgo.Record{Value: []byte(assume(fmt.Sprint(i), "arn:r", "192.0.2.1", noon))})
		want = append(want, fmt.Sprint("assume_role_unique_ip ", i))
	}
	r.send(records...)
	r.drain()
	r.wantAlerts(append(want, "assume_role_unique_ip big"))
	r.wantLetters("", "")
	omitted := 0
	for _, a := range kafkatest.ReadCommitted(t, r.brokers, r.app.Alerts) {
		omitted += strings.Count(string(a.Value), `"event_omitted":"too_large"`)
	}
	if omitted != 1 {
		t.Errorf("%d alerts leave out their event; want that of the big event alone", omitted)
	}
}
