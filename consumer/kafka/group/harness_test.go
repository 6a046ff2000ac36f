package group

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/kafka/wire"
)

// patience is how long a test waits for something that ought to happen.
const patience = 60 * time.Second

// bench starts members of one group and keeps their assignments.
type bench struct {
	testing.TB
	ctx    context.Context
	dial   func() *wire.Client
	group  string
	topics []string
	shards string
	events chan struct{} // one for each call of Assigned, and for each end of Run
	kafka  bool          // not an imitation
}

// each runs a test with a group of its own on kfake and, if there is one, on Kafka.
func each(t *testing.T, shards, inputs int, test func(b *bench)) {
	kafkatest.Each(t, func(t *testing.T, brokers []string) {
		b := newBench(t, func() *wire.Client { return wire.NewClient(brokers, nil, nil, nil) })
		b.kafka, b.group = strings.HasSuffix(t.Name(), "/kafka"), kafkatest.Group(t, brokers)
		b.shards = kafkatest.Topic(t, brokers, shards, nil)
		b.topics = []string{b.shards}
		if inputs > 0 {
			b.topics = append(b.topics, kafkatest.Topic(t, brokers, inputs, nil))
		}
		test(b)
	})
}

func newBench(t testing.TB, dial func() *wire.Client) *bench {
	b := &bench{TB: t, dial: dial, group: kafkatest.Name(t), events: make(chan struct{}, 1000)}
	var cancel context.CancelFunc
	b.ctx, cancel = context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return b
}

// member is a running Member, as if in a process of its own.
type member struct {
	*Member
	bench *bench
	stop  context.CancelFunc
	ended chan struct{}
	err   error // of Run

	mu   sync.Mutex
	told []Assignment
}

// start runs a member; prepare may change it before.
func (b *bench) start(instance string, prepare ...func(*Member)) *member {
	b.Helper()
	m := &member{bench: b, ended: make(chan struct{})}
	m.Member = &Member{
		Client: b.dial(), Group: b.group, Instance: instance, Topics: b.topics, ShardTopic: b.shards,
		SessionTimeout: 6 * time.Second, HeartbeatInterval: 100 * time.Millisecond, RebalanceTimeout: 10 * time.Second, Assigned: m.assigned,
	}
	for _, p := range prepare {
		p(m.Member)
	}
	ctx, cancel := context.WithCancel(b.Context())
	m.stop = cancel
	go func() {
		defer close(m.ended)
		m.err = m.Run(ctx)
		b.events <- struct{}{}
	}()
	b.Cleanup(m.kill)
	return m
}

func (m *member) assigned(a Assignment) {
	m.mu.Lock()
	m.told = append(m.told, a)
	m.mu.Unlock()
	m.bench.events <- struct{}{}
}

// kill ends the process: a static member stays in the group.
func (m *member) kill() {
	m.stop()
	<-m.ended
	m.Client.Close()
}

func (m *member) history() []Assignment {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.told)
}

func (m *member) confirm() Assignment {
	m.bench.Helper()
	a, err := m.Confirm(m.bench.ctx)
	if err != nil {
		m.bench.Fatalf("Confirm() = %v; want the assignment", err)
	}
	return a
}

// until waits for a condition that an event may bring about.
func (b *bench) until(what string, ok func() bool) {
	b.Helper()
	for !ok() {
		select {
		case <-b.events:
		case <-b.ctx.Done():
			b.Fatalf("waited %v for %s; want it to happen", patience, what)
		}
	}
}

// settle waits until the members share out all partitions in one generation, and returns
// the owner of each.
func (b *bench) settle(counts []int, members ...*member) map[partition]*member {
	b.Helper()
	total := 0
	for _, n := range counts {
		total += n
	}
	var owners map[partition]*member
	b.until(fmt.Sprintf("%d members to share %d partitions", len(members), total), func() bool {
		owners = make(map[partition]*member)
		generation := int32(-1)
		for _, m := range members {
			a, ok := m.Current()
			if !ok || generation >= 0 && a.Generation != generation {
				return false
			}
			generation = a.Generation
			for topic, numbers := range a.Partitions {
				for _, n := range numbers {
					if owners[partition{topic, n}] != nil {
						return false
					}
					owners[partition{topic, n}] = m
				}
			}
		}
		return len(owners) == total
	})
	return owners
}

func spread(owners map[partition]*member, topic string, members ...*member) int {
	loads := make([]int, len(members))
	for p, m := range owners {
		if p.topic == topic {
			loads[slices.Index(members, m)]++
		}
	}
	return slices.Max(loads) - slices.Min(loads)
}

func moved(before, after map[partition]*member) (n int) {
	for p, m := range after {
		if before[p] != m {
			n++
		}
	}
	return n
}

// client returns a client of the brokers that is closed at the end.
func (b *bench) client() *wire.Client {
	c := b.dial()
	b.Cleanup(c.Close)
	return c
}

// grow adds partitions to a topic.
func (b *bench) grow(topic string, n int) {
	b.Helper()
	res, err := b.client().Kafka().CreatePartitions(b.ctx, &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: topic, Count: int32(n)}}})
	if err = cmp.Or(err, errors.Join(slices.Collect(func(yield func(error) bool) {
		for _, e := range res.Errors {
			yield(e)
		}
	})...)); err != nil {
		b.Fatalf("CreatePartitions(%s, %d) = %v; want %d partitions", topic, n, err, n)
	}
}

func same(a, b Assignment) bool {
	return a.Generation == b.Generation && a.MemberID == b.MemberID && reflect.DeepEqual(a.Partitions, b.Partitions)
}
