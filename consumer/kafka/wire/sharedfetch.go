package wire

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"trailhound/consumer/kafka/internal/primitive"
)

// sharedFetch is one request for several partitions of a group.
type sharedFetch struct {
	group *fetchGroup
	calls []*fetchCall
	wait  time.Duration
	polls bool // the partitions are at their ends
	short bool

	// Guarded by the Fetcher's lock.
	wanted int // calls with a caller that still waits
	cancel context.CancelFunc
}

// run sends the request and deals out its answer. Calls without records wait on.
func (m *sharedFetch) run(ctx context.Context) {
	defer m.cancel()
	g := m.group
	f := g.fetcher
	size := 0
	if !m.polls {
		size = sharedBytes + sharedBytes/2 // with the rest of the last partition's: a buffer that grew would be of another size
	}
	buffer := buffers.get(size)
	*buffer = slices.Grow((*buffer)[:0], size)
	began := time.Now()
	err := m.fetch(ctx, buffer)
	now := time.Now()

	f.mu.Lock()
	var ready []*fetchCall
	if err == nil {
		ready = m.settle(now, now.Sub(began) < m.wait)
	} else {
		m.fail(err, ctx.Err() != nil)
	}
	// The readers that are answered ask again meanwhile.
	rests := m.polls && err == nil && (len(ready) > 0 || now.Sub(began) < m.wait/2)
	if rests {
		g.resting++
	}
	f.mu.Unlock()
	for _, c := range ready {
		c.fill(&f.spares)
		close(c.told)
	}
	buffers.put(buffer)
	if rests {
		_ = waitOut(g.ctx, min(time.Duration(len(m.calls))*restEach, mostRest))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if rests {
		g.resting--
	}
	for _, c := range m.calls {
		if c.state != fetchWaiting {
			continue
		}
		if c.reader.alone {
			g.behind = append(g.behind, c)
		} else {
			g.atEnd = append(g.atEnd, c)
		}
	}
	switch {
	case m.short:
		g.short = false
	case m.polls:
		g.polling--
		if g.resting == 0 { // else a poll that is about to be sent takes them
			g.poll()
		}
	default:
		g.reading--
		if err == nil {
			g.answers++
		}
	}
	g.dispatch()
}

// fetch sends the request until it is answered, and leaves in each call the answer about
// its partition.
func (m *sharedFetch) fetch(ctx context.Context, buffer *[]byte) error {
	c := m.group.fetcher.Client
	asked := make([]*FetchRequest, len(m.calls))
	for i, call := range m.calls {
		asked[i] = &call.req
		call.got = fetchAnswer{}
	}
	for {
		var a fetchAnswer
		var code int16
		at := 0
		k := &call{
			api:     apiFetch,
			request: fmt.Sprintf("%s and %d more partitions", describeFetch(asked[0]), len(asked)-1),
			write:   func(b []byte, version int16) []byte { return appendFetch(b, version, m.wait, asked) },
			read: func(r *primitive.Reader, version int16) {
				a.readAll(r, version, func() { at = m.note(&a, at) })
				code = a.code
			},
			answer: buffer,
		}
		k.api.max = m.group.key.version
		k.toBroker(m.group.key.broker)
		err := c.do(ctx, k, m.wait)
		throttled := throttledFor(err)
		if err != nil && throttled == 0 {
			return err
		}
		if err == nil && code == 0 && a.partitions == 0 {
			throttled = a.throttle
		}
		if throttled > 0 {
			if err := waitOut(ctx, throttled); err != nil {
				return fmt.Errorf("%s: the broker throttles this client: %w", k.request, err)
			}
			continue
		}
		return answered(k.request, code, "")
	}
}

// note gives a call the answer about its partition, and returns the index of the next call:
// brokers answer in the order of the request, but for refusals, which come first.
func (m *sharedFetch) note(a *fetchAnswer, at int) (next int) {
	for i := range m.calls {
		n := (at + i) % len(m.calls)
		if c := m.calls[n]; a.about(&c.req) {
			c.got = *a
			c.got.partitions = 1
			at = n + 1
			break
		}
	}
	a.code, a.diverged, a.aborted, a.batches = 0, nil, nil, nil
	return at
}

// settle gives the calls their next state, and returns those with an answer. early: the
// broker has not waited as long as it might. The caller holds the lock.
func (m *sharedFetch) settle(now time.Time, early bool) (ready []*fetchCall) {
	for _, c := range m.calls {
		if c.state == fetchLeft {
			continue
		}
		r, a := c.reader, &c.got
		r.fresh = now
		patience := c.req.MaxWait
		if !early {
			patience /= 2 // else the wait would be up to half as long again
		}
		switch {
		case a.code != 0, a.diverged != nil:
			r.alone = true
		case len(a.batches) > 0:
		case a.partitions == 0, c.req.Offset < endOf(&c.req, a.highWatermark, a.lastStable):
			r.alone = true // its batch does not fit behind others
			c.state = fetchWaiting
			continue
		case now.Sub(c.began) < patience:
			c.state = fetchWaiting
			continue
		}
		c.state = fetchDone
		ready = append(ready, c)
	}
	return ready
}

// fail answers all calls with an error. The caller holds the lock.
func (m *sharedFetch) fail(err error, left bool) {
	for _, c := range m.calls {
		err := err
		if _, refused := errors.AsType[kafka.Error](err); refused {
			err = Denied(err, Right{"Read", "topic", c.req.Topic})
		}
		c.answer(err)
	}
	if !left {
		m.group.fail(err)
	}
}

// fill copies the answer about the call's partition, so that the call does not keep the
// answer as a whole.
func (c *fetchCall) fill(from *spareBuffers) {
	into, a := c.into, &c.got
	into.reset(c.req)
	into.filter.expected = append(into.filter.expected, a.aborted...)
	if cap(into.response) < len(a.batches) {
		into.response = from.get(len(a.batches))
	}
	into.response = append(into.response, a.batches...)
	a.batches = into.response
}

// leader returns the leader of a partition in the cached layout of the cluster; not ok: the
// layout has none.
func (c *Client) leader(ctx context.Context, topic string, partition int32) (broker int32, ok bool) {
	if c.Addr == nil {
		return 0, false
	}
	q := leaderQuery{topic: topic, partition: partition}
	if _, err := c.Transport.RoundTrip(ctx, c.Addr, &q); err != nil {
		return 0, false
	}
	return q.broker, q.ok
}

// leaderQuery is a message that is split into none: nothing goes over the wire, but the
// Transport shows its layout.
type leaderQuery struct {
	topic     string
	partition int32
	broker    int32
	ok        bool
}

var (
	_ protocol.Splitter = (*leaderQuery)(nil)
	_ protocol.Merger   = (*leaderQuery)(nil)
)

// ApiKey implements protocol.Message.
func (q *leaderQuery) ApiKey() protocol.ApiKey { return protocol.Fetch }

// Split implements protocol.Splitter.
func (q *leaderQuery) Split(layout protocol.Cluster) ([]protocol.Message, protocol.Merger, error) {
	b, err := leaderOf(layout, "", q.topic, q.partition)
	q.broker, q.ok = b.ID, err == nil
	return nil, q, nil
}

// Merge implements protocol.Merger.
func (q *leaderQuery) Merge([]protocol.Message, []any) (protocol.Message, error) { return q, nil }
