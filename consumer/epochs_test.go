package consumer_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"trailhound/consumer"
	"trailhound/consumer/kafka/group"
	"trailhound/consumer/kafka/topic"
	"trailhound/consumer/kafka/wire"
	"trailhound/state"
)

// brittle is a cluster that can lose the end of a log, as brokers do that lose power: it
// stops, and the data on its disk comes back under the same addresses.
type brittle struct {
	*rig
	dir     string
	cluster *kfake.Cluster
	ports   []int
}

func newBrittle(t *testing.T) *brittle {
	f := &brittle{dir: t.TempDir()}
	f.open(t)
	t.Cleanup(func() { f.cluster.Close() }) // the one of that time: lose replaces it
	f.rig = newRigOn(t, f.cluster.ListenAddrs(), 1, 1)
	return f
}

func (f *brittle) open(t testing.TB) {
	t.Helper()
	opts := []kfake.Opt{kfake.NumBrokers(3), kfake.DataDir(f.dir), kfake.SyncWrites()}
	if f.ports != nil {
		opts = append(opts, kfake.Ports(f.ports...))
	}
	cluster, err := kfake.NewCluster(opts...)
	if err != nil {
		t.Fatalf("start a cluster on %s: %v", f.dir, err)
	}
	f.cluster, f.ports = cluster, nil
	// A partition of which all records were deleted begins at 0 again when the cluster does.
	cluster.ControlKey(int16(kmsg.DeleteRecords), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		return nil, errors.New("records stay"), true
	})
	for _, addr := range cluster.ListenAddrs() {
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(port)
		if err != nil {
			t.Fatal(err)
		}
		f.ports = append(f.ports, n)
	}
}

// lose makes partition 0 of a topic end before an offset; its next records are in a new
// leader epoch.
func (f *brittle) lose(name string, from int64) {
	f.Helper()
	f.produce.Close()
	f.cluster.Close()
	segments, err := filepath.Glob(filepath.Join(f.dir, "partitions", url.PathEscape(name)+"-0", "*.dat"))
	if err != nil || len(segments) != 1 {
		f.Fatalf("segments of %s: %v, %v; want one", name, segments, err)
	}
	log, err := os.ReadFile(segments[0])
	if err != nil {
		f.Fatal(err)
	}
	kept := 0
	for kept < len(log) && int64(binary.BigEndian.Uint64(log[kept:])) < from {
		kept += 12 + int(binary.BigEndian.Uint32(log[kept+8:]))
	}
	if err := os.Truncate(segments[0], int64(kept)); err != nil {
		f.Fatal(err)
	}
	f.open(f.TB)
	if err := f.cluster.MoveTopicPartition(name, 0, (f.cluster.LeaderFor(name, 0)+1)%3); err != nil {
		f.Fatal(err)
	}
	if f.produce, err = kgo.NewClient(kgo.SeedBrokers(f.brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner())); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(f.produce.Close)
	f.await("the client to have done with the connections of before", func() bool {
		_, _, err := topic.Bounds(f.Context(), f.client, name, 0)
		return err == nil
	})
}

// history evaluates 6 records, of which 5 alert.
func (f *brittle) history() (want []string) {
	f.trust(0, "arn:r")
	for i := range 5 {
		want = append(want, f.strange(0, "arn:r", fmt.Sprint("old-", i)))
	}
	f.settle() // or records in flight are lost with the cluster
	f.wantAlerts(want)
	return want
}

// anew writes 10 records in the place of those lost, and beyond.
func (f *brittle) anew() (want []string) {
	for i := range 10 {
		want = append(want, f.strange(0, "arn:r", fmt.Sprint("new-", i)))
	}
	return want
}

// An input lost its end and was written anew, past the committed offset. The records from
// there up to the committed offset were skipped without a word, and dropped as repeats once
// an operator had set the group back. Here the instance stops and names both ranges; it
// goes on where the log departs from the records read, by --accept-loss or by an operator's
// hand, and takes none of the new records for a repeat.
func TestInputCutBack(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"accept-loss", "reset"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			f, fs := newBrittle(t), disk()
			in := f.start("only", fs, nil)
			want := f.history()
			in.shutdown()
			f.lose(f.app.Inputs[0], 3)
			want = append(want, f.anew()...)
			for range 2 { // only a decision of the operator changes it
				f.start("only", fs, nil).wantStop(f.app.Inputs[0], "partition 0", "records 3 to 5 that were read are gone", "from offset 3 on", "--accept-loss")
			}
			f.wantAlerts(want[:5])

			accept := way == "accept-loss"
			if !accept {
				f.await("the group to be empty", func() bool {
					return f.member().SetOffsets(f.Context(), map[string]map[int32]group.Offset{f.app.Inputs[0]: {0: {At: 3, LeaderEpoch: -1}}}) == nil
				})
			}
			in = f.start("only", fs, func(s *consumer.Service) { s.Accept.Loss = accept })
			f.drain()
			f.wantAlerts(want)
			in.shutdown()

			// Offsets committed since carry the epoch of the present log.
			in = f.start("only", fs, nil)
			want = append(want, f.strange(0, "arn:r", "later"))
			f.drain()
			f.wantAlerts(want)
			in.shutdown()
			got, err := f.member().Committed(f.Context(), f.app.Inputs[0], []int32{0})
			if err != nil || got[0].At != 14 || got[0].LeaderEpoch != 1 {
				t.Errorf("Committed() = %+v, %v; want offset 14 in leader epoch 1", got, err)
			}
		})
	}
}

func (f *brittle) member() *group.Member {
	return &group.Member{Client: f.client, Group: f.app.ID}
}

// The input is cut back and not yet written anew as far as the committed offset: with
// --accept-loss reading went on at the end of the log, behind the records written since the
// loss.
func TestInputCutBackAndShort(t *testing.T) {
	t.Parallel()
	f, fs := newBrittle(t), disk()
	in := f.start("only", fs, nil)
	want := f.history()
	in.shutdown()
	f.lose(f.app.Inputs[0], 2)
	want = append(want, f.strange(0, "arn:r", "new-0"), f.strange(0, "arn:r", "new-1"))
	f.start("only", fs, nil).wantStop(f.app.Inputs[0], "records 2 to 5", "--accept-loss")
	f.start("only", fs, func(s *consumer.Service) { s.Accept.Loss = true })
	f.drain()
	f.wantAlerts(want)
}

// A new app began at the end of its input, where no record told it a leader epoch: neither
// its committed offset nor the marks in its shards had one. The input lost its end and was
// written anew: that was skipped without a word, or dropped as repeats once the loss was
// accepted. The epoch is read back when the partition is opened.
func TestInputCutBackBelowTheBeginning(t *testing.T) {
	t.Parallel()
	f, fs := newBrittle(t), disk()
	for range 3 {
		f.trust(0, "arn:r")
	}
	in := f.start("only", fs, func(s *consumer.Service) { s.StartLatest = true })
	f.await("the instance to be ready", func() bool { return in.service.Ready() == nil })
	f.settle()
	in.shutdown()
	f.onDisk(fs, func(h *state.Shard) {
		for _, src := range h.Sources() {
			if src.Last.Epoch != 0 || src.Last.Offset != 2 {
				t.Errorf("Sources() has %+v; want offset 2 in leader epoch 0", src)
			}
		}
	})
	f.lose(f.app.Inputs[0], 1)
	f.trust(0, "arn:n")
	want := []string{f.strange(0, "arn:n", "new")}
	f.trust(0, "arn:n") // or drain has no record to wait for: the committed offset is the end
	f.start("only", fs, nil).wantStop(f.app.Inputs[0], "records 1 to 2 that were read are gone", "--accept-loss")
	f.start("only", fs, func(s *consumer.Service) { s.Accept.Loss = true })
	f.drain()
	f.wantAlerts(want)
}

// A changelog lost its end, and another instance wrote on in its place, and beyond: the
// first instance came back with a copy that held the lost records and had missed the new
// ones, and trusted the next comer in silence.
func TestLocalCopyOfAChangelogCutBack(t *testing.T) {
	t.Parallel()
	f, fs := newBrittle(t), disk()
	a := f.start("a", fs, nil)
	f.trust(0, "arn:first")
	f.settle()
	kept := f.end(f.app.StateTopic(), 0)
	for i := range 5 {
		f.trust(0, fmt.Sprint("arn:lost-", i))
		f.drain()
	}
	f.settle()
	a.shutdown()
	var copied int64
	f.onDisk(fs, func(h *state.Shard) { copied = h.Position().Changelog })
	f.lose(f.app.StateTopic(), kept)

	b := f.start("b", disk(), func(s *consumer.Service) { s.Accept.Loss = true })
	var roles []string
	for f.end(f.app.StateTopic(), 0) <= copied {
		roles = append(roles, fmt.Sprint("arn:new-", len(roles)))
		f.trust(0, roles[len(roles)-1])
		f.drain()
	}
	f.settle()
	b.shutdown()

	for range 2 {
		f.start("a", fs, nil).wantStop(f.app.StateTopic(), "partition 0", fmt.Sprintf("records %d to %d that were read are gone", kept, copied-1), "unclean leader election", "--accept-loss")
	}
	said := make(lines, 1000)
	f.start("a", fs, func(s *consumer.Service) { s.Accept.Loss, s.Log = true, zerolog.New(said) })
	var want []string
	for _, role := range roles {
		want = append(want, f.strange(0, role, "1-"+role))
	}
	f.drain()
	f.wantAlerts(want)
	for _, event := range []string{"changelog_lost", "copy_discarded"} {
		if !said.have(event) {
			t.Errorf("the log has no line with %s", event)
		}
	}
}

// A work topic lost its end and was written anew, past the offset that the shard had
// evaluated: the records in the place of the lost ones were skipped without a word. The
// state knows the leader epoch of the work, so the instance stops and names both ranges,
// and goes on, once that is accepted, where the log departs from the records evaluated.
func TestWorkCutBack(t *testing.T) {
	t.Parallel()
	f, fs := newBrittle(t), disk()
	in := f.start("only", fs, nil)
	want := f.history()
	in.shutdown()
	var evaluated int64
	f.onDisk(fs, func(h *state.Shard) {
		at := h.Position()
		if evaluated = at.Work; at.WorkEpoch != 0 {
			t.Errorf("Position() = %+v; want the work in leader epoch 0", at)
		}
	})
	work := f.app.WorkTopic()
	from := evaluated - 2
	var again []*kgo.Record
	var read wire.Fetched
	if err := f.client.Fetch(t.Context(), wire.FetchRequest{Topic: work, Offset: from}, &read); err != nil {
		t.Fatal(err)
	}
	if err := read.Each(func(r *wire.Record) bool {
		again = append(again, &kgo.Record{Topic: work, Value: bytes.Clone(r.Value)})
		return true
	}); err != nil {
		t.Fatal(err)
	}
	f.lose(work, from)
	from = f.end(work, 0)
	for f.end(work, 0) <= evaluated {
		for _, r := range again {
			if err := f.produce.ProduceSync(t.Context(), &kgo.Record{Topic: work, Value: r.Value}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 2 { // only a decision of the operator changes it
		f.start("other", disk(), nil).wantStop(work, "partition 0", fmt.Sprintf("records %d to %d that were read are gone", from, evaluated-1), fmt.Sprintf("from offset %d on", from), "unclean leader election", "--accept-loss")
	}
	in = f.start("only", fs, func(s *consumer.Service) { s.Accept.Loss = true })
	f.drain()
	in.shutdown()
	in = f.start("only", fs, nil) // it was accepted once
	want = append(want, f.strange(0, "arn:r", "later"))
	f.settle()
	f.wantAlerts(want)
	in.shutdown()
	f.onDisk(fs, func(h *state.Shard) {
		if at := h.Position(); at.WorkEpoch != 1 {
			t.Errorf("Position() = %+v; want the work in leader epoch 1", at)
		}
	})
}

// The leader of a changelog moves, and the shard is handed back before its owner has asked
// for the epoch of its records: the copy looked cut back then, and was made again.
func TestShardIsHandedBackInANewEpoch(t *testing.T) {
	t.Parallel()
	f, fs := newBrittle(t), disk()
	in := f.start("only", fs, nil)
	f.trust(0, "arn:first")
	f.settle()
	if err := f.cluster.MoveTopicPartition(f.app.StateTopic(), 0, (f.cluster.LeaderFor(f.app.StateTopic(), 0)+1)%3); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		f.trust(0, fmt.Sprint("arn:later-", i))
		f.settle()
	}
	in.shutdown()
	f.onDisk(fs, func(h *state.Shard) {
		if at := h.Position(); at.Epoch != 1 || at.EpochTo != at.Changelog {
			t.Errorf("Position() = %+v; want leader epoch 1 up to the position in the changelog", at)
		}
	})
}

// The log loses its end while an instance reads it: the broker says so in answer to
// the next fetch, which names the leader epoch of the record before.
func TestInputCutBackWhileRunning(t *testing.T) {
	t.Parallel()
	f, fs := newBrittle(t), disk()
	in := f.start("only", fs, nil)
	f.history()
	f.diverge(0, 3)
	in.wantStop(f.app.Inputs[0], "partition 0", "records 3 to 5 that were read are gone", "from offset 3 on", "--accept-loss")
}

// diverge makes the cluster answer fetches of the input as Kafka does, if the record
// before was read in a leader epoch that now ends below the offset asked for.
func (f *brittle) diverge(epoch int32, end int64) {
	id := f.topicID(f.app.Inputs[0])
	f.cluster.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		f.cluster.KeepControl()
		fetch := req.(*kmsg.FetchRequest)
		if len(fetch.Topics) != 1 || fetch.Topics[0].TopicID != id || len(fetch.Topics[0].Partitions) != 1 {
			return nil, nil, false
		}
		asked := fetch.Topics[0].Partitions[0]
		if asked.LastFetchedEpoch != epoch || asked.FetchOffset <= end {
			return nil, nil, false
		}
		resp := fetch.ResponseKind().(*kmsg.FetchResponse)
		topic, p := kmsg.NewFetchResponseTopic(), kmsg.NewFetchResponseTopicPartition()
		topic.TopicID, p.Partition = id, asked.Partition
		p.DivergingEpoch.Epoch, p.DivergingEpoch.EndOffset = epoch, end
		topic.Partitions = append(topic.Partitions, p)
		resp.Topics = append(resp.Topics, topic)
		return resp, nil, true
	})
}

// A former leader that has not heard of its successor knows nothing of the leader epoch of
// the records read: that is no loss, but reading cannot go on either.
func TestInputAtALeaderOfThePast(t *testing.T) {
	t.Parallel()
	f, fs := newBrittle(t), disk()
	in := f.start("only", fs, nil)
	want := f.history()
	in.shutdown()
	infos, err := f.client.Topics(t.Context(), f.app.Inputs[0])
	if err != nil {
		t.Fatal(err)
	}
	id := infos[f.app.Inputs[0]].ID
	f.setOffset(group.Offset{At: 6, LeaderEpoch: 7, Metadata: fmt.Sprintf("%x", id)})
	said := make(lines, 1000)
	f.start("only", fs, func(s *consumer.Service) { s.Log = zerolog.New(said) })
	f.strange(0, "arn:r", "later")
	f.await("the instance to say what it waits for", func() bool {
		select {
		case line := <-said:
			return strings.Contains(line, "knows no leader epoch 7")
		default:
			return false
		}
	})
	f.wantAlerts(want)
}

// lines are the lines of a log, as many as there is room for.
type lines chan string

func (l lines) Write(b []byte) (int, error) {
	select {
	case l <- string(b):
	default:
	}
	return len(b), nil
}

// have tells whether a remaining line has a word, and takes the lines before it.
func (l lines) have(word string) bool {
	for {
		select {
		case line := <-l:
			if strings.Contains(line, word) {
				return true
			}
		default:
			return false
		}
	}
}

func (f *brittle) setOffset(o group.Offset) {
	f.Helper()
	f.await("the group to be empty", func() bool {
		return f.member().SetOffsets(f.Context(), map[string]map[int32]group.Offset{f.app.Inputs[0]: {0: o}}) == nil
	})
}
