package changelog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"trailhound/consumer/fatal"
	"trailhound/consumer/internal/kafkatest"
)

// A changelog that lost its end rolled the state back without a word: the copy that still
// held the lost records was wiped, and events with committed alerts were evaluated and
// alerted again. Up to the offset that the leader epoch was read back for, a loss is certain
// and is a stop with both ranges. If the epoch ends behind it, the leader may as well
// have moved; and a copy without a topic id may be of another topic. Both kinds of copy are
// made again, with a line in the log. PROTOCOL R8.
func TestTakeOfALogThatWasCutBack(t *testing.T) {
	for name, c := range map[string]struct {
		epoch, end func(known, at int64) int64 // the leader's answer
		ahead      bool                        // of the log
		anonymous  bool
		stop       []string // words; nil: none
		wiped      string   // why; "": not
	}{
		"held":              {is(0), position, false, false, nil, ""},
		"in a later epoch":  {is(0), before, false, false, nil, "cannot be told"},
		"at the mark":       {is(0), mark, false, false, nil, "cannot be told"},
		"below the mark":    {is(0), below, false, false, []string{"records <cut> to <cut> that were read are gone", "from offset <cut> on"}, ""},
		"no such epoch":     {is(-1), is(-1), false, false, nil, ""},
		"ahead":             {is(0), position, true, false, []string{"to 999 that were read are gone"}, ""},
		"ahead, no epochs":  {is(-1), is(-1), true, false, []string{"to 999 that were read are gone"}, ""},
		"whose, below":      {is(0), below, false, true, nil, "does not say of which topic"},
		"whose, and ahead":  {is(0), position, true, true, nil, "does not say of which topic"},
		"whose, and unsure": {is(0), before, false, true, nil, "cannot be told"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := kafkatest.Fake(t, 1)
			b := newBench(t, cluster.ListenAddrs(), nil)
			a := b.owner("a")
			var said bytes.Buffer
			a.log.Log = zerolog.New(&said)
			a.take()
			if !c.anonymous {
				a.identify()
			}
			a.write("n")
			if err := a.log.LearnEpoch(t.Context()); err != nil {
				t.Fatal(err)
			}
			known := a.shard.Position().EpochTo
			a.write("n")
			a.write("n")
			at := a.shard.Position().Changelog
			if known >= at-1 {
				t.Fatalf("the epoch is known up to %d of %d; want it to be behind", known, at)
			}
			if c.ahead {
				if err := a.shard.Begin().Apply(1000); err != nil {
					t.Fatal(err)
				}
			}
			answerEpoch(cluster, b.topic, int32(c.epoch(known, at)), c.end(known, at))
			if c.stop != nil {
				words := append(slices.Clone(c.stop), b.topic, "partition 0", "unclean leader election", "--accept-loss")
				for i, w := range words {
					words[i] = strings.ReplaceAll(w, "<cut>", fmt.Sprint(known-1))
				}
				for range 2 { // nothing but a decision changes it
					a.wantStop(words...)
				}
				if said.Len() > 0 {
					t.Errorf("the log has %s; want nothing before the decision", &said)
				}
				a.log.Accept.Loss = true
				c.wiped = "changelog_lost"
			}
			a.take()
			a.want("n", 3)
			if lines := said.String(); strings.Contains(lines, "copy_discarded") != (c.wiped != "") || !strings.Contains(lines, c.wiped) {
				t.Errorf("the log has %q; want a line with %q", lines, c.wiped)
			}
		})
	}
}

func is(n int64) func(_, _ int64) int64 { return func(_, _ int64) int64 { return n } }

func position(_, at int64) int64 { return at }
func before(_, at int64) int64   { return at - 1 }
func mark(known, _ int64) int64  { return known }
func below(known, _ int64) int64 { return known - 1 }

// answerEpoch makes a cluster answer where leader epochs end.
func answerEpoch(cluster *kfake.Cluster, topic string, epoch int32, end int64) {
	cluster.ControlKey(int16(kmsg.OffsetForLeaderEpoch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		resp := req.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
		of, p := kmsg.NewOffsetForLeaderEpochResponseTopic(), kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
		of.Topic, p.LeaderEpoch, p.EndOffset = topic, epoch, end
		of.Partitions = append(of.Partitions, p)
		resp.Topics = append(resp.Topics, of)
		return resp, nil, true
	})
}

// A leader that does not know the copy's epoch was taken for one with a log that was cut
// back, and the copy was wiped. That leader is behind: the shard is taken again until
// another leader answers.
func TestTakeAtALeaderThatIsBehind(t *testing.T) {
	cluster := kafkatest.Fake(t, 1)
	b := newBench(t, cluster.ListenAddrs(), nil)
	a := b.owner("a")
	a.take()
	a.identify()
	a.write("n")
	if err := a.shard.MarkEpoch(7); err != nil {
		t.Fatal(err)
	}
	answerEpoch(cluster, b.topic, -1, -1)
	a.wantRetry("knows no leader epoch 7", b.topic)
	a.want("n", 1)
}

// LearnEpoch that failed was taken for one that was answered, and not repeated for the
// same position.
func TestLearnEpochFails(t *testing.T) {
	cluster := kafkatest.Fake(t, 1)
	b := newBench(t, cluster.ListenAddrs(), nil)
	a := b.owner("a")
	a.take()
	a.write("n")
	at := a.shard.Position()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	var stopped *fatal.Error
	if err := a.log.LearnEpoch(ctx); err == nil || errors.As(err, &stopped) || !strings.Contains(err.Error(), b.topic) {
		t.Errorf("LearnEpoch() without an answer = %v; want an error that names the topic", err)
	}
	if got := a.shard.Position(); got.EpochTo != at.EpochTo || got.Epoch != at.Epoch {
		t.Errorf("Position() = %+v after an error; want epoch %d up to %d", got, at.Epoch, at.EpochTo)
	}
	if err := a.log.LearnEpoch(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := a.shard.Position(); got.EpochTo != got.Changelog || got.Epoch != 0 {
		t.Errorf("Position() = %+v; want epoch 0 up to the position", got)
	}
}
