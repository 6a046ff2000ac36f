package consumer_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// target is one kind of request that errors are injected into, in the answers.
type target struct {
	key   kmsg.Key
	topic string // without the app's name; "": all
	group bool   // of FindCoordinator: of the group, not of a shard's transactional id
	top   bool   // the code of the whole answer, not those of its entries
	start bool   // sent when an instance starts or takes a shard, not while it works
}

var targets = []target{
	{key: kmsg.Produce, topic: "work"},
	{key: kmsg.Produce, topic: "state"},
	{key: kmsg.Produce, topic: "alerts"},
	{key: kmsg.AddPartitionsToTxn},
	{key: kmsg.EndTxn, top: true},
	{key: kmsg.InitProducerID, top: true, start: true},
	{key: kmsg.FindCoordinator, top: true, start: true},
	{key: kmsg.FindCoordinator, top: true, start: true, group: true},
	{key: kmsg.JoinGroup, top: true, start: true},
	{key: kmsg.SyncGroup, top: true, start: true},
	{key: kmsg.Heartbeat, top: true},
	{key: kmsg.OffsetCommit, topic: "input"},
	{key: kmsg.OffsetCommit, topic: "work"},
	{key: kmsg.OffsetFetch, topic: "input", start: true},
	{key: kmsg.OffsetFetch, topic: "work", start: true},
	{key: kmsg.OffsetFetch, top: true, start: true},
	{key: kmsg.Fetch, topic: "input"},
	{key: kmsg.Fetch, topic: "work"},
	{key: kmsg.Fetch, topic: "state", start: true},
	{key: kmsg.Fetch, top: true},
	{key: kmsg.ListOffsets, topic: "input", start: true},
	{key: kmsg.ListOffsets, topic: "work", start: true},
	{key: kmsg.Metadata, topic: "work", start: true},
	{key: kmsg.DeleteRecords, topic: "work", start: true},
}

func (x target) String() string {
	s := x.key.Name()
	if x.topic != "" {
		s += "-" + x.topic
	}
	if x.group {
		s += "-group"
	}
	if x.top && x.topic == "" && (x.key == kmsg.Fetch || x.key == kmsg.OffsetFetch) {
		s += "-whole"
	}
	return s
}

// fault makes the cluster refuse the target's requests with a code.
func (x target) fault(w *bubble, err *kerr.Error, count int) *kfake.FaultHandle {
	f := kfake.Fault{Keys: []kmsg.Key{x.key}, TopLevel: x.top, Err: err, Count: count}
	switch x.topic {
	case "":
	case "input":
		f.Topic = "input"
	default:
		f.Topic = w.app.ID + "." + x.topic
	}
	switch {
	case x.group:
		f.Group = w.app.ID
	case x.key == kmsg.FindCoordinator:
		f.When = func(r kmsg.Request) bool {
			return r.(*kmsg.FindCoordinatorRequest).CoordinatorType == 1
		}
	case x.key == kmsg.Fetch && x.top: // by an instance, not by the test's own reader of the outputs
		f.When = func(r kmsg.Request) bool {
			step := w.step(r)
			return !strings.Contains(step, "alerts") && !strings.Contains(step, "dead")
		}
	}
	return w.cluster.Fault(f)
}

// matches says whether an exchange is one of the target's.
func (x target) matches(e *exchange) bool {
	name, about, _ := strings.Cut(e.step, " ")
	switch {
	case name != x.key.Name():
		return false
	case x.key == kmsg.FindCoordinator:
		return x.group == (about == "group")
	}
	return x.topic == "" || about == "" || strings.Contains(about, x.topic)
}

// ends are the codes that end a run with a sentence, by the kind of request: their cause
// does not pass by itself. The service survives any other code.
var ends = map[kmsg.Key][]*kerr.Error{
	kmsg.Produce: {kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidTimestamp, kerr.InvalidRecord}, // to the work topic only
	kmsg.JoinGroup: {kerr.InconsistentGroupProtocol, kerr.InvalidGroupID, kerr.InvalidSessionTimeout, kerr.UnsupportedVersion,
		kerr.GroupIDNotFound, kerr.FencedInstanceID},
	kmsg.SyncGroup: {kerr.InconsistentGroupProtocol, kerr.InvalidGroupID, kerr.InvalidSessionTimeout, kerr.UnsupportedVersion,
		kerr.GroupIDNotFound, kerr.FencedInstanceID},
	// At offset 0 only: the beginning of the changelog is gone. A copy of the state is
	// restored again.
	kmsg.Fetch:     {kerr.OffsetOutOfRange},
	kmsg.Heartbeat: {kerr.InconsistentGroupProtocol, kerr.InvalidGroupID, kerr.UnsupportedVersion, kerr.GroupIDNotFound, kerr.FencedInstanceID},
}

// endsWith says whether the code may end the run. A transaction that a leader refuses is
// for the dead-letter topic instead. Before a run has begun there is no work to keep up: an
// error of the look at the topics ends it.
func (x target) endsWith(err *kerr.Error) bool {
	switch x.key {
	case kmsg.Metadata:
		return true
	case kmsg.Produce:
		return x.topic == "work" && slices.Contains(ends[x.key], err)
	case kmsg.Fetch:
		return x.topic == "state" && slices.Contains(ends[x.key], err)
	}
	return slices.Contains(ends[x.key], err)
}

// mustEnd says whether the code must end the run at any moment. A member id that was
// refused may just have been forgotten.
func (x target) mustEnd(err *kerr.Error) bool {
	forgotten := x.key == kmsg.SyncGroup && err == kerr.FencedInstanceID
	return x.endsWith(err) && x.key != kmsg.Metadata && x.key != kmsg.Fetch && !forgotten
}

// codes calls each for every error code that there is, or else for every fifth one, which are
// others for the next target.
func (x target) codes(each func(*kerr.Error)) {
	for code := int16(-1); code <= 200; code++ {
		var err *kerr.Error
		if errors.As(kerr.ErrorForCode(code), &err) && err.Code == code && (full || (int(code)+slices.Index(targets, x))%5 == 0) {
			each(err)
		}
	}
}

// patient is an app that errors are injected into, one after the other.
type patient struct {
	*bubble
	target target
	events []attempt // still to be sent
	in     *inhabitant
	watch  trap

	wasDead int // events in the dead-letter topic
}

func newPatient(w *bubble, x target, watch trap) *patient {
	p := &patient{bubble: w, target: x, events: workload(3, 6000, 12), watch: watch}
	p.in = w.start("one", disk(), watch)
	p.feed()
	w.drain()
	return p
}

func (p *patient) feed() {
	const n = 12
	p.send(p.events[:n])
	p.events = p.events[n:]
}

// restart crashes the instance and starts it on its disk.
func (p *patient) restart() {
	left := p.in.crash(100)
	p.in.bury()
	p.members = nil
	p.in = p.start("one", left, p.watch)
}

// provoke makes the instance send the target's request, until the error has hit it.
func (p *patient) provoke(what string, hit func() bool) {
	if p.target.start {
		p.restart()
	}
	p.feed()
	for began := time.Now(); !hit(); elapse(200 * time.Millisecond) {
		if time.Since(began) > bubblePatience {
			p.Fatalf("%s: no request of this kind was sent", what)
		}
		if time.Since(began)%(10*time.Second) == 0 {
			p.feed() // the last events may have led to no alert
		}
	}
}

// heal waits until the app has finished its work: with the instance that the error
// has hit, or with its successor if the error ends it.
func (p *patient) heal(what string, injected *kerr.Error) {
	var ended bool
	for began := time.Now(); !p.drained(); elapse(200 * time.Millisecond) {
		if time.Since(began) > bubblePatience {
			p.Fatalf("%s: the app is stuck", what)
		}
		if ended = p.over(); ended {
			break
		}
	}
	if ended = ended || p.over(); !ended && p.target.mustEnd(injected) {
		p.Errorf("%s: the run goes on; want it to end with a sentence", what)
	}
	if ended {
		p.wantEnd(what, injected)
		p.restart()
		p.drain()
	}
	if difference := p.compare(); difference != "" {
		p.Fatalf("%s: %s", what, difference)
	}
	// Only a record batch that a broker refuses for its content may go to the dead-letter topic.
	rejects := p.target.key == kmsg.Produce && slices.Contains(ends[kmsg.Produce], injected)
	if len(p.dead) > p.wasDead && !rejects {
		p.Errorf("%s: %d events went to the dead-letter topic; want none", what, len(p.dead)-p.wasDead)
	}
	p.wasDead = len(p.dead)
}

// over says whether the run has ended. An end comes at once, or not at all.
func (p *patient) over() bool {
	synctest.Wait()
	select {
	case <-p.in.ended:
		return true
	default:
		return false
	}
}

func (p *patient) wantEnd(what string, injected *kerr.Error) {
	if !p.target.endsWith(injected) {
		p.Errorf("%s: Run() = %v; want it to go on", what, p.in.err)
	} else if p.in.err == nil || p.target.key != kmsg.Metadata && !strings.Contains(p.in.err.Error(), "; ") && !strings.Contains(p.in.err.Error(), "must") {
		p.Errorf("%s: Run() = %v; want a sentence with a way out", what, p.in.err)
	}
}

// Each error code once, at each kind of request: the service lives through it with
// the right answers, or ends with a sentence, and its successor has them.
func TestInjectOnce(t *testing.T) {
	for _, x := range targets {
		t.Run(x.String(), func(t *testing.T) {
			t.Parallel()
			inBubble(t, 2, 2, func(w *bubble) {
				p := newPatient(w, x, trap{})
				x.codes(func(injected *kerr.Error) {
					what := fmt.Sprintf("%s at %v", injected.Message, x)
					fault := x.fault(w, injected, 1)
					p.provoke(what, func() bool { return fault.Hits() > 0 })
					p.heal(what, injected)
				})
			})
		})
	}
}

// notAllowed are the codes of missing authorisation.
var notAllowed = []*kerr.Error{kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.ClusterAuthorizationFailed, kerr.TransactionalIDAuthorizationFailed}

// Each code that may pass, for some time: that of a broker in trouble, and that of a
// missing right, which may be granted at any moment (PROTOCOL D6).
func TestInjectForSomeTime(t *testing.T) {
	for _, x := range targets {
		t.Run(x.String(), func(t *testing.T) {
			t.Parallel()
			inBubble(t, 2, 2, func(w *bubble) {
				p := newPatient(w, x, trap{})
				x.codes(func(injected *kerr.Error) {
					unauthorised := slices.Contains(notAllowed, injected)
					if !injected.Retriable && !unauthorised || slices.Contains(ends[x.key], injected) {
						return
					}
					what := fmt.Sprintf("%s at %v for some time", injected.Message, x)
					fault := x.fault(w, injected, -1)
					p.provoke(what, func() bool { return fault.Hits() > 0 })
					elapse(10 * time.Second)
					if !p.over() {
						p.restart() // offsets committed meanwhile must be true
					}
					elapse(10 * time.Second)
					if x.key == kmsg.InitProducerID && unauthorised && p.in.service.Ready() == nil {
						t.Errorf("%s: Ready() = nil; want the shard that cannot be taken", what)
					}
					fault.Remove()
					p.heal(what, injected)
				})
			})
		})
	}
}

// unsure are the codes of brokers that may have carried the request out.
// CONCURRENT_TRANSACTIONS is none: it says that nothing was done.
var unsure = []*kerr.Error{
	kerr.UnknownServerError, kerr.LeaderNotAvailable, kerr.NotLeaderForPartition, kerr.RequestTimedOut, kerr.BrokerNotAvailable,
	kerr.NetworkException, kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable, kerr.NotCoordinator,
	kerr.NotEnoughReplicasAfterAppend, kerr.IllegalGeneration, kerr.UnknownMemberID, kerr.RebalanceInProgress,
	kerr.InvalidProducerEpoch, kerr.InvalidTxnState, kerr.KafkaStorageError,
}

// The broker carries the request out, and answers with an error, or not at all.
func TestInjectUnknownOutcome(t *testing.T) {
	const none, severed = -1000, 1000
	for _, x := range targets {
		t.Run(x.String(), func(t *testing.T) {
			t.Parallel()
			inBubble(t, 2, 2, func(w *bubble) {
				var next atomic.Int32
				next.Store(none)
				p := newPatient(w, x, trap{look: func(_ *inhabitant, e *exchange) verdict {
					if e.answer == nil || !x.matches(e) {
						return pass
					}
					switch code := next.Swap(none); code {
					case none:
					case severed:
						return sever
					default:
						e.fail(int16(code))
					}
					return pass
				}})
				hit := func() bool { return next.Load() == none }
				what := fmt.Sprintf("no answer to %v", x)
				next.Store(severed)
				p.provoke(what, hit)
				p.heal(what, nil)
				x.codes(func(injected *kerr.Error) {
					if !slices.Contains(unsure, injected) {
						return
					}
					what := fmt.Sprintf("%s, though it was done, at %v", injected.Message, x)
					next.Store(int32(injected.Code))
					p.provoke(what, hit)
					p.heal(what, injected)
				})
			})
		})
	}
}
