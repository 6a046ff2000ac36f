package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/twmb/franz-go/pkg/kgo"
)

// probes are events that must alert, sent all the time: one for each shard every 100 ms.
type probes struct {
	client *kgo.Client
	roles  [failoverShards]string

	mu   sync.Mutex
	sent []probe
	ids  map[string]int // of the probes without an alert so far
	came map[string]int // how often each alert came
}

type probe struct{ sent, seen time.Time }

func newProbes(brokers []string) (*probes, error) {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(brokers...), kgo.DefaultProduceTopic(inputTopic), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
		kgo.ConsumeTopics(alertsTopic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
	)
	p := &probes{client: client, ids: make(map[string]int), came: make(map[string]int)}
	for shard := range p.roles {
		for n := 0; p.roles[shard] == ""; n++ {
			role := fmt.Sprintf("arn:aws:iam::111122223333:role/probe-%d", n)
			if xxhash.Sum64String(role)%failoverShards == uint64(shard) {
				p.roles[shard] = role
			}
		}
	}
	return p, err
}

func (p *probes) close() { p.client.Close() }

// start sends probes and reads alerts until ctx ends. An error ends both, and is passed to fail.
func (p *probes) start(ctx context.Context, fail context.CancelCauseFunc) *sync.WaitGroup {
	var both sync.WaitGroup
	both.Go(func() { p.send(ctx, fail) })
	both.Go(func() { p.read(ctx) })
	return &both
}

func (p *probes) send(ctx context.Context, fail context.CancelCauseFunc) {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for n := 0; ; n++ {
		for shard, role := range p.roles {
			rec := p.probe(n, shard, role)
			p.client.Produce(ctx, rec, func(_ *kgo.Record, err error) {
				if err != nil && ctx.Err() == nil {
					fail(fmt.Errorf("send a probe: %w", err))
				}
			})
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// probe makes the n-th event of a role. The first address of a role is trusted, all others alert.
// The partition is another each time, so that the way from each partition to each shard is tried.
func (p *probes) probe(n, shard int, role string) *kgo.Record {
	now := time.Now()
	id := fmt.Sprintf("probe-%d-%d", shard, n)
	if n >= inputPartitions { // each partition has had one, so the role has an address by now, or will before this one
		p.mu.Lock()
		p.ids[id] = len(p.sent)
		p.sent = append(p.sent, probe{sent: now})
		p.mu.Unlock()
	}
	e := made{
		Version: "1.11", Identity: json.RawMessage("null"), Time: now.UTC().Format(time.RFC3339), Source: "sts.amazonaws.com", Name: "AssumeRole",
		IP: fmt.Sprintf("2001:db8::%x", n), Request: jsonf(`{"roleArn":%q}`, role), ID: id, Type: "AwsApiCall", Account: "111122223333",
	}
	return &kgo.Record{Partition: int32((n + shard) % inputPartitions), Value: e.json()}
}

func (p *probes) read(ctx context.Context) {
	for ctx.Err() == nil {
		fetches := p.client.PollFetches(ctx)
		now := time.Now()
		p.mu.Lock()
		fetches.EachRecord(func(r *kgo.Record) {
			var a alertBody
			if json.Unmarshal(r.Value, &a) != nil {
				return // the probe stays without its alert
			}
			p.came[a.ID]++
			if i, ok := p.ids[a.EventID]; ok {
				p.sent[i].seen = now
				delete(p.ids, a.EventID)
			}
		})
		p.mu.Unlock()
	}
}

// longest returns the longest delay among the probes sent in a span of time, and how many of them have no alert yet.
func (p *probes) longest(from, to time.Time) (longest time.Duration, missing int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range slices.Backward(p.sent) {
		switch {
		case s.sent.Before(from):
			return longest, missing
		case s.sent.After(to):
		case s.seen.IsZero():
			missing++
		default:
			longest = max(longest, s.seen.Sub(s.sent))
		}
	}
	return longest, missing
}

func (p *probes) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.sent)
}

// doubled returns how many alerts came again.
func (p *probes) doubled() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, times := range p.came {
		n += times - 1
	}
	return n
}
