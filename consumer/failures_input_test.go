package consumer_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kgo"

	"trailhound/consumer"
	"trailhound/consumer/internal/kafkatest"
	"trailhound/rules"
	"trailhound/rules/cloudtrail"
	"trailhound/state"
)

// Retention has removed the committed offset, or the one being read: Quix Streams was stuck
// (issue 1114), kafka-go's Reader jumps forward in silence. Here the run ends with a
// sentence that has the lost offsets, also when the reader is overtaken while it reads, and
// goes on only if the loss is accepted.
func TestFailure07InputTrimmedWhileReading(t *testing.T) {
	t.Parallel()
	for _, accept := range []bool{false, true} {
		t.Run(fmt.Sprintf("accept=%t", accept), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1, 1)
			input, held := r.topicID(r.app.Inputs[0]), r.gate()
			var slow atomic.Bool
			in := r.watch("only", disk(), func(x *exchange) verdict {
				if _, _, ok := fetchFrom(x, input); ok && slow.Load() {
					held.wait()
				}
				return pass
			}, func(s *consumer.Service) { s.Accept.Loss = accept })
			r.trust(0, "arn:r")
			r.drain()
			slow.Store(true)
			r.awaitAt(held, "the instance to be slow")
			for i := range 5 {
				r.strange(0, "arn:r", fmt.Sprint(i))
			}
			r.deleteRecords(r.app.Inputs[0], 0, 4)
			held.open()
			if !accept {
				in.wantStop(r.app.Inputs[0], "partition 0", "1 to 3", "--accept-loss")
				return
			}
			r.drain()
			r.wantAlerts([]string{"assume_role_unique_ip 3", "assume_role_unique_ip 4"})
		})
	}
}

// A local position lies beyond the end of the changelog, because the topic was deleted and
// made again: goka and Faust went on from there, with state that no changelog holds (Faust
// issue 658). Here an instance that finds its changelog made again, also while it works
// with it, says so and stops.
func TestFailure09ChangelogMadeAgainWhileWorking(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, 1)
	in := r.start("only", disk(), nil)
	r.trust(0, "arn:r")
	for i := range 5 {
		r.strange(0, "arn:r", fmt.Sprint(i))
	}
	r.drain()
	r.remake(r.app.StateTopic(), 1)
	r.strange(0, "arn:r", "behind")
	in.wantStop(r.app.StateTopic(), "made again")
	r.start("only", in.fs, nil).wantStop(r.app.StateTopic(), "--accept-loss")
}

// grumpy is a rule that panics on some events.
type grumpy struct{ *rules.AssumeRoleUniqueIP }

func (g grumpy) Evaluate(ev *rules.Event, s *state.Scope) *rules.Finding {
	if strings.HasPrefix(ev.ID, "poison") {
		panic("a mistake in a rule")
	}
	return g.AssumeRoleUniqueIP.Evaluate(ev, s)
}

// A message that cannot be processed stops its partition for ever: in any processor for
// which an error means "again". Here the message leaves for the dead-letter topic, be it
// the first or the last of its partition, a record that holds no event or an event on which
// a rule panics; and it does not come back with a restart.
func TestFailure16Poison(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, 1)
	with := func(s *consumer.Service) {
		dynamic(s)
		e, err := rules.NewEngine([]rules.Active{{Rule: grumpy{rules.NewAssumeRoleUniqueIP()}}}, rules.Limits{MaxAlertBytes: 900_000})
		if err != nil {
			t.Fatal(err)
		}
		s.Engine = e
	}
	poison := func(i int) {
		r.send(&kgo.Record{Value: []byte("\x00\xff no event")})
		r.strange(0, "arn:r", fmt.Sprint("poison-", i))
	}
	fs := disk()
	var want []string
	for i := range 3 {
		poison(i)
		if i == 0 {
			r.trust(0, "arn:r")
		}
		want = append(want, r.strange(0, "arn:r", fmt.Sprint(i)))
		poison(-i - 1)
		in := r.start("", fs, with)
		r.drain()
		in.shutdown()
		fs = in.fs
	}
	r.wantAlerts(want)
	reasons := make(map[string]int)
	for _, l := range kafkatest.ReadCommitted(t, r.brokers, r.app.DeadLetter) {
		reasons[header(l, "reason")]++
	}
	if reasons["not_json"] != 6 || reasons["rule_panic"] != 6 || len(reasons) != 2 {
		t.Errorf("dead letters by reason: %v; want 6 not_json and 6 rule_panic", reasons)
	}
}

// Panther's data replay wrote into the live tables, or was refused because the live run had
// seen the same events. An evaluation beside the service, as trailhound detect does with
// files, has a store of its own: it neither finds the counts of the live run nor leaves
// anything there. Replay of topic ranges will stand on the same ground, and this test is to
// hold for its topics and its transactional ids too.
func TestFailure19IsolatedEvaluation(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, 1)
	in := r.start("only", disk(), nil)
	for i := range 9 {
		r.send(r.denial(fmt.Sprint(i)))
	}
	r.settle()
	before := kafkatest.ReadCommitted(t, r.brokers, r.app.StateTopic())
	got := r.isolated(func(yield func(id string) bool) {
		for i := range 20 {
			if !yield(fmt.Sprint(i % 15)) { // 5 of them twice
				return
			}
		}
	})
	if want := []string{"access_denied 9"}; !slices.Equal(got, want) {
		t.Errorf("the isolated run found %q; want %q: a window of its own, nothing suppressed as a duplicate of the live run", got, want)
	}
	if after := kafkatest.ReadCommitted(t, r.brokers, r.app.StateTopic()); len(after) != len(before) {
		t.Errorf("%d records are in the changelog after the isolated run; want still %d", len(after), len(before))
	}
	r.wantAlerts(nil)
	r.send(r.denial("9"), r.denial("10"))
	r.drain()
	r.wantAlerts([]string{"access_denied 9"})
	r.await("the live run to be undisturbed", func() bool { return in.service.Ready() == nil })
}

// isolated evaluates denials as trailhound detect does, beside the service.
func (r *rig) isolated(ids func(yield func(id string) bool)) (alerts []string) {
	r.Helper()
	store, err := state.Open(state.Options{Dir: "state", FS: vfs.NewMem()})
	if err != nil {
		r.Fatal(err)
	}
	defer store.Close()
	h, err := store.Shard(0)
	if err != nil {
		r.Fatal(err)
	}
	e, tx := engine(r.TB, nil), h.Begin()
	defer tx.Discard()
	var d cloudtrail.Decoder
	for id := range ids {
		d.Decode(r.denial(id).Value, func(ev *rules.Event, err error) bool {
			matches, _ := e.Match(ev, nil)
			for _, a := range e.Evaluate(ev, matches, tx).Alerts {
				alerts = append(alerts, a.RuleID+" "+id)
			}
			return err == nil
		})
	}
	return alerts
}

// The same event delivered twice counts twice, in all stream processors, for CloudTrail
// does deliver twice. Here an event counts once for its rule and key, also if the copies
// stand in different partitions, and the state has moved in between: to a new process, to
// an empty disk, to another instance.
func TestFailure20DuplicatesCountTwice(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, 4)
	deliver := func(ids ...int) {
		for _, id := range ids {
			for p := range int32(2) {
				rec := r.denial(fmt.Sprint(id))
				rec.Partition = p
				r.send(rec)
			}
		}
		r.drain()
	}
	nine := []int{0, 1, 2, 3, 4, 5, 6, 7, 8}
	a := r.start("a", disk(), dynamic)
	deliver(nine...)
	a.shutdown()
	a = r.start("a", a.fs, dynamic)
	deliver(nine...)
	b := r.start("b", disk(), dynamic)
	r.await("the shards to have moved", func() bool { return a.service.Ready() == nil && b.service.Ready() == nil })
	deliver(nine...)
	a.shutdown()
	deliver(nine...)
	b.shutdown()
	r.start("c", disk(), dynamic)
	deliver(nine...)
	r.wantAlerts(nil)
	deliver(9)
	deliver(9)
	r.wantAlerts([]string{"access_denied 9"})
}

// An alert or a change too large for its topic makes any transactional sink try again for
// ever. Here a refusal of the changelog ends like one of the alerts: the batch is halved down
// to the event to blame, which leaves for the dead-letter topic with the state as before it.
func TestFailure22ChangeTooLarge(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, 1)
	in := r.start("only", disk(), nil)
	r.trust(0, "arn:r")
	r.drain()
	r.alter(r.app.StateTopic(), "max.message.bytes", "1500") // without the instance's knowledge
	var want []string
	for i := range 12 {
		if i == 5 { // its key and its member have 2 KB each
			r.send(&kgo.Record{Value: []byte(assume("large", bigName(2), bigName(1), noon))})
		}
		want = append(want, r.strange(0, "arn:r", fmt.Sprint(i)))
	}
	r.drain()
	r.wantAlerts(want)
	letters := kafkatest.ReadCommitted(t, r.brokers, r.app.DeadLetter)
	if len(letters) != 1 || header(letters[0], "reason") != "output_rejected" || !strings.Contains(string(letters[0].Value), `"large"`) {
		t.Errorf("%d dead letters; want the one event that is too large, output_rejected", len(letters))
	}
	// The refused event has left no trace: the role is trusted from the next address on.
	r.alter(r.app.StateTopic(), "max.message.bytes", "8388608")
	r.send(&kgo.Record{Value: []byte(assume("again", bigName(2), "192.0.2.7", noon))})
	want = append(want, r.strange(0, bigName(2), "stranger"))
	r.drain()
	r.wantAlerts(want)
	r.await("the instance to see that the topic was mended", func() bool { return in.service.Ready() == nil })
}

// The input topic is deleted and made again; any de-duplication by offset takes the new offsets
// for old ones, and the new events vanish in silence. Here a source carries the topic's id, in
// the changelog too: no event of a new topic is old, however short the topic, for any owner.
func TestFailure23InputMadeAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2, 2)
	in := r.start("a", disk(), dynamic)
	var want []string
	for p := range int32(2) {
		r.trust(p, fmt.Sprint("arn:role/", p))
		for i := range 6 {
			want = append(want, r.strange(p, fmt.Sprint("arn:role/", p), fmt.Sprintf("old-%d-%d", p, i)))
		}
	}
	r.drain()
	in.shutdown()
	r.remake(r.app.Inputs[0], 2)
	for p := range int32(2) { // at offsets 0 and 1; the old topic was read up to 7
		for i := range 2 {
			want = append(want, r.strange(p, fmt.Sprint("arn:role/", p), fmt.Sprintf("new-%d-%d", p, i)))
		}
	}
	b := r.start("b", disk(), dynamic) // its state comes from the changelog
	r.drain()
	r.wantAlerts(want)
	b.shutdown()
	r.start("b", b.fs, dynamic)
	for p := range int32(2) {
		want = append(want, r.strange(p, fmt.Sprint("arn:role/", p), fmt.Sprintf("newer-%d", p)))
	}
	r.drain()
	r.wantAlerts(want)
}
