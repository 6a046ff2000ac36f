package wire

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

const (
	// pollRequests is the number of concurrent requests that wait for records of partitions
	// at their ends, where there are more partitions than that. Each answer costs the
	// broker a look at all partitions of its request, so one request for all would be too
	// few.
	pollRequests = 12

	// readRequests is the number of concurrent requests that read from partitions with a
	// backlog, and sharedBytes the bytes that one asks for.
	readRequests = 4
	sharedBytes  = 1 << 20

	// shortPoll is the wait of a request for partitions that the long polls under way leave
	// out: their records are found with so much delay.
	shortPoll = 50 * time.Millisecond

	// restEach, for each partition of a poll, is the pause before the next poll, once some
	// of them had records: partitions asked for again meanwhile go with it, and a trickle
	// of records costs the broker a bounded number of looks.
	restEach = 250 * time.Microsecond
	mostRest = 20 * time.Millisecond

	// mostGather bounds the time for which the first of several partitions that come to
	// their ends waits for the others.
	mostGather = 5 * time.Millisecond

	// freshFor is the time for which a partition that was at its end is taken to be there
	// still.
	freshFor = 100 * time.Millisecond
)

// fetchKey holds the properties in which requests must agree to be sent as one.
type fetchKey struct {
	broker    int32
	committed bool  // read committed: a request has one isolation level
	version   int16 // the highest that carries all fields
	wait      time.Duration
}

// fetchGroup is the partitions that can share requests to one broker. Its fields are guarded
// by the Fetcher's lock.
type fetchGroup struct {
	fetcher *Fetcher
	key     fetchKey
	readers int
	ctx     context.Context // ends with the last reader
	stop    context.CancelFunc
	running sync.WaitGroup // goroutines of the group
	behind  []*fetchCall   // calls for partitions with a backlog, in the order in which they came
	atEnd   []*fetchCall   // calls for partitions at their ends
	reading int            // requests under way for behind
	polling int            // requests under way for atEnd, or about to be sent
	resting int            // of these, those about to be sent
	answers uint64         // to requests for behind
	short   bool           // a short poll is under way
}

// fetchCall is one call of Reader.Fetch. got belongs to the request that the call is part
// of; all other fields are guarded by the Fetcher's lock.
type fetchCall struct {
	reader *Reader
	req    FetchRequest
	into   *Fetched
	began  time.Time
	state  fetchState
	shared *sharedFetch
	got    fetchAnswer
	err    error
	told   chan struct{} // closed when state is final
}

type fetchState int

const (
	fetchWaiting fetchState = iota
	fetchShared             // part of a request for several partitions
	fetchSingly             // the caller is to send the request
	fetchDone               // got, or err, is the answer
	fetchLeft               // the caller has left
)

// few tells whether each partition of the group has requests of its own, and then counts
// the request that is about to be sent.
func (g *fetchGroup) few() bool {
	g.fetcher.mu.Lock()
	defer g.fetcher.mu.Unlock()
	if g.readers > g.fetcher.Few {
		return false
	}
	g.polling++
	return true
}

// own sends a request of one of few partitions.
func (g *fetchGroup) own(ctx context.Context, req FetchRequest, into *Fetched) error {
	err := g.fetcher.Client.Fetch(ctx, req, into)
	g.fetcher.mu.Lock()
	defer g.fetcher.mu.Unlock()
	g.polling--
	g.dispatch()
	return err
}

// ask has a call answered by a request of the group; fetchSingly: the caller must send the
// request itself, by single.
func (g *fetchGroup) ask(ctx context.Context, c *fetchCall) fetchState {
	f := g.fetcher
	f.mu.Lock()
	c.reader.call = c
	if r := c.reader; r.alone || r.behind || time.Since(r.fresh) > freshFor {
		g.behind = append(g.behind, c)
	} else {
		g.atEnd = append(g.atEnd, c)
	}
	g.dispatch()
	f.mu.Unlock()
	select {
	case <-c.told:
		return c.state
	case <-ctx.Done():
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	c.reader.call = nil
	switch c.state {
	case fetchShared:
		if c.shared.wanted--; c.shared.wanted == 0 {
			c.shared.cancel()
		}
	case fetchSingly:
		g.reading--
		g.dispatch()
	case fetchDone:
		<-c.told // fill may still write to its buffer, without the lock
	}
	c.state = fetchLeft
	return fetchLeft
}

// single sends the request of a call that goes with no other. Its answer stands, unless it
// is empty and there is time left to wait.
func (g *fetchGroup) single(ctx context.Context, c *fetchCall) (stands bool, err error) {
	f, r := g.fetcher, c.reader
	req := c.req
	req.MaxWait = 0
	f.mu.Lock()
	r.call = nil
	if r.slow {
		req.MaxWait = min(shortPoll, c.req.MaxWait)
	}
	f.mu.Unlock()
	if c.into.response == nil {
		c.into.response = f.spares.get(0)
	}
	err = f.Client.Fetch(ctx, req, c.into)
	f.mu.Lock()
	defer f.mu.Unlock()
	g.reading--
	if err == nil {
		g.answers++
	}
	r.alone = c.into.Bytes > int(req.most())
	r.learn(err, c)
	if err != nil && ctx.Err() == nil {
		g.fail(err)
	}
	g.dispatch()
	// A broker that tells of records and does not send them is not asked as fast as it
	// answers.
	r.slow = err == nil && c.into.Bytes == 0 && r.behind
	r.alone = r.alone || r.slow
	return err != nil || c.into.Bytes > 0 || time.Since(c.began) >= c.req.MaxWait, err
}

// fail answers all waiting calls when a broker does not take connections, or does not
// answer: their partitions may have other leaders by now, and each call would take long to
// meet the error itself. A connection that breaks says nothing about the next one. The
// caller holds the lock.
func (g *fetchGroup) fail(err error) {
	if _, broke := errors.AsType[*NoAnswerError](err); !unreachable(err) || broke && !errors.Is(err, context.DeadlineExceeded) {
		return
	}
	for _, c := range slices.Concat(g.behind, g.atEnd) {
		c.answer(err)
	}
	g.behind, g.atEnd = nil, nil
}

// answer ends a call with an error, unless its caller has left. The caller of answer holds
// the lock.
func (c *fetchCall) answer(err error) {
	if c.state != fetchLeft {
		c.state, c.err = fetchDone, err
		close(c.told)
	}
}

// dispatch sends requests for the waiting calls, up to the limits. The caller holds the
// lock.
func (g *fetchGroup) dispatch() {
	for g.reading < readRequests {
		calls := g.nextBehind()
		if len(calls) == 0 {
			break
		}
		g.reading++
		if len(calls) == 1 {
			calls[0].state = fetchSingly
			close(calls[0].told)
			continue
		}
		g.share(&sharedFetch{calls: calls})
	}
	for g.polling < pollRequests && len(g.atEnd) >= g.size() {
		g.poll()
	}
	switch {
	case len(g.atEnd) == 0 || g.resting > 0:
	case g.polling < pollRequests:
		g.polling++
		g.resting++
		g.running.Go(g.gather)
	case !g.short:
		if calls := g.nextAtEnd(len(g.atEnd)); len(calls) > 0 {
			g.short = true
			g.share(&sharedFetch{calls: calls, polls: true, short: true, wait: min(shortPoll, g.key.wait)})
		}
	}
}

// size is the most partitions of one poll. It leaves some polls free, for partitions that
// come in between.
func (g *fetchGroup) size() int { return max((g.readers+pollRequests-3)/(pollRequests-2), 1) }

// poll sends a long poll for the next calls of atEnd. The caller holds the lock.
func (g *fetchGroup) poll() {
	size := g.size()
	calls := g.nextAtEnd(size)
	if len(calls) == 0 {
		return
	}
	g.polling++
	// A poll for few partitions ends sooner, to go on with more.
	wait := g.key.wait * time.Duration(len(calls)) / time.Duration(size)
	g.share(&sharedFetch{calls: calls, polls: true, wait: max(wait, min(shortPoll, g.key.wait))})
}

// gather sends a poll a little later: partitions answered together are asked for again
// together.
func (g *fetchGroup) gather() {
	f := g.fetcher
	f.mu.Lock()
	pause := min(time.Duration(g.size())*restEach, mostGather)
	f.mu.Unlock()
	_ = waitOut(g.ctx, pause)
	f.mu.Lock()
	defer f.mu.Unlock()
	g.resting--
	g.polling--
	g.poll()
	g.dispatch()
}

// nextBehind takes the calls of the next request for partitions with a backlog; a call that
// must be alone comes alone.
func (g *fetchGroup) nextBehind() (calls []*fetchCall) {
	bytes := 0
	rest := g.behind[:0]
	for _, c := range g.behind {
		switch {
		case c.state == fetchLeft:
		case len(calls) > 0 && (bytes >= sharedBytes || c.reader.alone || calls[0].reader.alone):
			rest = append(rest, c)
		default:
			calls = append(calls, c)
			bytes += int(c.req.most())
		}
	}
	clear(g.behind[len(rest):])
	g.behind = rest
	return calls
}

// nextAtEnd takes up to most calls for partitions at their ends.
func (g *fetchGroup) nextAtEnd(most int) (calls []*fetchCall) {
	taken := 0
	for _, c := range g.atEnd {
		if len(calls) == most {
			break
		}
		if taken++; c.state != fetchLeft {
			calls = append(calls, c)
		}
	}
	g.atEnd = slices.Delete(g.atEnd, 0, taken)
	return calls
}

// share sends a request for several partitions. The caller holds the lock.
func (g *fetchGroup) share(m *sharedFetch) {
	ctx, cancel := context.WithCancel(g.ctx)
	m.group, m.wanted, m.cancel = g, len(m.calls), cancel
	for _, c := range m.calls {
		c.state, c.shared = fetchShared, m
	}
	g.running.Go(func() { m.run(ctx) })
}
