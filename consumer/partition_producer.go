package consumer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go"

	"trailhound/consumer/admin"
	"trailhound/consumer/fatal"
	"trailhound/consumer/kafka/wire"
)

// producerBytes is the size to which the batches of each of so many partition producers grow.
func producerBytes(producers int) int { return share(producerMemory, producers, mostProducerBytes) }

// partitionProducer carries records to one partition of the work or the dead-letter topic:
// in order, one request in flight, encoded once, sent again byte for byte until
// the broker has them (PROTOCOL R2). Partition producers do not wait for each other.
type partitionProducer struct {
	client    *wire.Client
	topic     string
	partition int32
	most      int           // bytes that a batch takes in memory; a single record may take more
	limit     int           // bytes of a batch before encoding; the same
	timeout   time.Duration // of one produce request
	now       func() time.Time
	log       zerolog.Logger
	tries     *attempts
	pulse     pulse
	part      *admin.Component // counts the failures; nil: they are not counted
	failed    func()           // counts the requests that have to be sent again
	refused   func(error)      // called with a refusal that no repetition mends

	mu      sync.Mutex
	change  *sync.Cond
	batch   wire.Batch     // the records added; it is encoded when the request is due, and is then free again
	bundle  entryWriter    // of a partition producer of work: the entries added that are not in batch yet
	filling *inflightBatch // the in-flight batch of batch and bundle
	spare   *inflightBatch // nil: it is on its way
	closed  bool
	next    time.Time     // of the next request; before it only a full one is sent
	wanted  bool          // a router waits for room
	hurry   chan struct{} // holds one token: collect has to look at the batch
}

func (p *partitionProducer) init() {
	p.change = sync.NewCond(&p.mu)
	p.hurry = make(chan struct{}, 1)
	p.filling = &inflightBatch{owners: make(map[*ackTracker]struct{})}
	p.spare = &inflightBatch{owners: make(map[*ackTracker]struct{})}
	p.tries = newAttempts(p.part)
}

// add appends one record. It waits while the partition producer is full: that is how a slow broker slows
// the routers down. It fails only when ctx has ended.
func (p *partitionProducer) add(ctx context.Context, from sourceOffset, key, value []byte, headers ...wire.Header) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, err := p.enter(ctx, from, len(key)+len(value))
	if err != nil {
		return err
	}
	p.batch.Append(now.UnixMilli(), key, value, headers...)
	p.entered(now)
	return nil
}

// addWork appends one entry of a work record, the concatenation of head and event, as add does.
func (p *partitionProducer) addWork(ctx context.Context, from sourceOffset, head, event []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, err := p.enter(ctx, from, len(head)+len(event))
	if err != nil {
		return err
	}
	if p.bundle.add(head, event); p.bundle.full() {
		p.closeBundle(now)
	}
	p.entered(now)
	return nil
}

// closeBundle makes a record of the entries that are not in the batch yet.
func (p *partitionProducer) closeBundle(now time.Time) {
	if p.bundle.size() > 0 {
		p.batch.Append(now.UnixMilli(), nil, p.bundle.record())
	}
}

// enter waits for room for so many bytes, and notes their origin.
func (p *partitionProducer) enter(ctx context.Context, from sourceOffset, need int) (now time.Time, err error) {
	if p.tooMuch(need) {
		from.router.pulse.at(stepIdle) // the partition producer's own pulse tells
		err := p.waitForRoom(ctx, need)
		from.router.pulse.at(stepRoute)
		if err != nil {
			return now, err
		}
	}
	now = p.now()
	p.filling.note(from, now)
	return now, nil
}

// entered wakes run for the entry just added.
func (p *partitionProducer) entered(now time.Time) {
	if p.filling.records == 1 {
		p.change.Broadcast()
	}
	if next := producerLinger.sooner(p.next, now, p.filling.youngest.age(now)); next.Before(p.next) {
		p.next = next
		p.hurryUp()
	}
	if p.enough() {
		p.hurryUp()
	}
}

// enough says whether the batch is to be sent without further delay. Records that come
// until run wakes up find room in the last quarter.
func (p *partitionProducer) enough() bool {
	return p.held() >= p.most-p.most/4 || p.size() >= p.limit-p.limit/4
}

// tooMuch says whether a record of that size has to wait for the next batch.
func (p *partitionProducer) tooMuch(need int) bool {
	return p.filling.records > 0 && (p.held()+need > p.most || p.size()+need > p.limit)
}

// held returns the memory of the records added, in bytes.
func (p *partitionProducer) held() int { return p.batch.Held() + p.bundle.size() }

// size returns an upper bound of the batch in bytes, before it is encoded.
func (p *partitionProducer) size() int { return p.batch.Size() + p.bundle.size() }

func (p *partitionProducer) waitForRoom(ctx context.Context, need int) error {
	stop := context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.change.Broadcast()
	})
	defer stop()
	for p.tooMuch(need) {
		if err := ctx.Err(); err != nil {
			return err
		}
		p.wanted = true
		p.hurryUp()
		p.change.Wait()
	}
	return nil
}

// run sends the records added until ctx ends. The next owner of the input partition sends
// those again that are not acknowledged by then.
func (p *partitionProducer) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, p.close)
	defer stop()
	for {
		b, encoded, err := p.take()
		if err != nil { // a codec that cannot compress: the configuration names it, so it cannot heal
			p.tries.lasting.Store(&err)
			p.log.Error().Err(err).Str("topic", p.topic).Int32("partition", p.partition).Str("event", "batch_not_encoded").Msg("cannot encode a record batch; the input partitions that feed it stand still")
			<-ctx.Done()
			return
		}
		if b == nil || !p.send(ctx, *encoded) {
			return
		}
		wire.Return(encoded)
		p.sent(b)
	}
}

// sent notes that the broker has acknowledged an in-flight batch.
func (p *partitionProducer) sent(b *inflightBatch) {
	pause := producerLinger.linger(b.records, b.youngest.age(p.now()))
	b.acknowledge()
	p.putBack(b, pause)
}

// close ends the partition producer and releases those that wait for it to become idle.
func (p *partitionProducer) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.change.Broadcast()
	p.hurryUp()
}

// take waits for records, and returns their in-flight batch, nil at the end, and the batch encoded, in
// a buffer that is lent: few partition producers have one at a time. Routers wait while it encodes: that is
// shorter than filling a batch, and a second batch to fill meanwhile would double the memory.
func (p *partitionProducer) take() (*inflightBatch, *[]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.filling.records == 0 && !p.closed {
		p.change.Wait()
	}
	p.collect()
	if p.closed {
		return nil, nil, nil
	}
	p.closeBundle(p.now())
	encoded := wire.Buffer(p.batch.Size())
	var err error
	if *encoded, err = p.batch.Encode((*encoded)[:0], wire.NoProducer); err != nil {
		return nil, nil, err
	}
	p.batch.Reset()
	b := p.filling
	p.filling, p.spare = p.spare, nil
	p.wanted = false
	p.change.Broadcast()
	return b, encoded, nil
}

// collect lets the batch grow until the next request is due.
func (p *partitionProducer) collect() {
	wait := p.next.Sub(p.now())
	if wait <= 0 {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for !p.enough() && !p.wanted && !p.closed {
		p.mu.Unlock()
		select {
		case <-timer.C:
		case <-p.hurry:
		}
		p.mu.Lock()
		if wait = p.next.Sub(p.now()); wait <= 0 {
			return
		}
		timer.Reset(wait)
	}
}

// flush sends the batch at once if it has a record of these routers.
func (p *partitionProducer) flush(of ...*ackTracker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range of {
		if _, ok := p.filling.owners[a]; ok {
			p.wanted = true
			p.hurryUp()
			return
		}
	}
}

// hurryUp ends collect, if it may.
func (p *partitionProducer) hurryUp() {
	select {
	case p.hurry <- struct{}{}:
	default: // collect has a token already
	}
}

// putBack gives an in-flight batch back, and lets the next request be sent after a pause.
func (p *partitionProducer) putBack(b *inflightBatch, pause time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spare = b
	p.next = p.now().Add(pause)
	p.change.Broadcast()
}

// idle waits until everything added so far is acknowledged, or ctx ends.
func (p *partitionProducer) idle(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.change.Broadcast()
	})
	defer stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	for (p.spare == nil || p.filling.records > 0) && !p.closed && ctx.Err() == nil {
		p.change.Wait()
	}
}

// send repeats one request until the broker has acknowledged it; false: ctx ended first.
func (p *partitionProducer) send(ctx context.Context, encoded []byte) bool {
	p.pulse.at(stepSend)
	defer p.pulse.at(stepIdle)
	defer p.pulse.beat()
	for {
		parts := [1]wire.PartitionBatch{{Topic: p.topic, Partition: p.partition, Batch: encoded}}
		err := p.client.Produce(ctx, "", p.timeout, parts[:])
		if err == nil {
			err = parts[0].Err
		}
		if err == nil {
			p.tries.succeeded()
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		if sentence := refusal(err); sentence != "" {
			p.refused(fatal.Errorf("topic %s partition %d refuses a record batch of %d bytes (%v): %s; nothing is lost, what was not acknowledged is read again", p.topic, p.partition, len(encoded), err, sentence))
			p.close()
			return false
		}
		p.failed()
		p.tries.failed(&p.log, err).Str("topic", p.topic).Int32("partition", p.partition).Str("event", "produce_retry").Msg("produce request failed; it is sent again unchanged")
		if p.tries.sleep(ctx) != nil {
			return false
		}
	}
}

// cannotWrite wraps err with the partition that it keeps from being written to.
func (p *partitionProducer) cannotWrite(err error) error {
	return fmt.Errorf("topic %s partition %d cannot be written to: %w", p.topic, p.partition, err)
}

// refusal returns the remedy of an error that the same bytes will get again; "" for one
// that may pass. Batches are cut to the limits that the topics had at the start, so a
// refusal means that a setting has changed since (PROTOCOL D6).
func refusal(err error) string {
	switch {
	case errors.Is(err, kafka.MessageSizeTooLarge), errors.Is(err, kafka.RecordListTooLarge):
		return "its max.message.bytes was lowered; set it back, or start again to work with the new limit"
	case errors.Is(err, kafka.InvalidTimestamp):
		return "this machine's clock and the broker's differ by more than message.timestamp.after.max.ms; set the clock"
	case errors.Is(err, kafka.InvalidRecord):
		return "another cleanup.policy or compression.type was set on it; set it back"
	}
	return ""
}
