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

func (l *partitionProducer) init() {
	l.change = sync.NewCond(&l.mu)
	l.hurry = make(chan struct{}, 1)
	l.filling = &inflightBatch{owners: make(map[*ackTracker]struct{})}
	l.spare = &inflightBatch{owners: make(map[*ackTracker]struct{})}
	l.tries = newAttempts(l.part)
}

// add appends one record. It waits while the partition producer is full: that is how a slow broker slows
// the routers down. It fails only when ctx has ended.
func (l *partitionProducer) add(ctx context.Context, from sourceOffset, key, value []byte, headers ...wire.Header) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, err := l.enter(ctx, from, len(key)+len(value))
	if err != nil {
		return err
	}
	l.batch.Append(now.UnixMilli(), key, value, headers...)
	l.entered(now)
	return nil
}

// addWork appends one entry of a work record, the concatenation of head and event, as add does.
func (l *partitionProducer) addWork(ctx context.Context, from sourceOffset, head, event []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, err := l.enter(ctx, from, len(head)+len(event))
	if err != nil {
		return err
	}
	if l.bundle.add(head, event); l.bundle.full() {
		l.closeBundle(now)
	}
	l.entered(now)
	return nil
}

// closeBundle makes a record of the entries that are not in the batch yet.
func (l *partitionProducer) closeBundle(now time.Time) {
	if l.bundle.size() > 0 {
		l.batch.Append(now.UnixMilli(), nil, l.bundle.record())
	}
}

// enter waits for room for so many bytes, and notes their origin.
func (l *partitionProducer) enter(ctx context.Context, from sourceOffset, need int) (now time.Time, err error) {
	if l.tooMuch(need) {
		from.router.pulse.at(stepIdle) // the partition producer's own pulse tells
		err := l.waitForRoom(ctx, need)
		from.router.pulse.at(stepRoute)
		if err != nil {
			return now, err
		}
	}
	now = l.now()
	l.filling.note(from, now)
	return now, nil
}

// entered wakes run for the entry just added.
func (l *partitionProducer) entered(now time.Time) {
	if l.filling.records == 1 {
		l.change.Broadcast()
	}
	if next := producerLinger.sooner(l.next, now, l.filling.youngest.age(now)); next.Before(l.next) {
		l.next = next
		l.hurryUp()
	}
	if l.enough() {
		l.hurryUp()
	}
}

// enough says whether the batch is to be sent without further delay. Records that come
// until run wakes up find room in the last quarter.
func (l *partitionProducer) enough() bool {
	return l.held() >= l.most-l.most/4 || l.size() >= l.limit-l.limit/4
}

// tooMuch says whether a record of that size has to wait for the next batch.
func (l *partitionProducer) tooMuch(need int) bool {
	return l.filling.records > 0 && (l.held()+need > l.most || l.size()+need > l.limit)
}

// held returns the memory of the records added, in bytes.
func (l *partitionProducer) held() int { return l.batch.Held() + l.bundle.size() }

// size returns an upper bound of the batch in bytes, before it is encoded.
func (l *partitionProducer) size() int { return l.batch.Size() + l.bundle.size() }

func (l *partitionProducer) waitForRoom(ctx context.Context, need int) error {
	stop := context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.change.Broadcast()
	})
	defer stop()
	for l.tooMuch(need) {
		if err := ctx.Err(); err != nil {
			return err
		}
		l.wanted = true
		l.hurryUp()
		l.change.Wait()
	}
	return nil
}

// run sends the records added until ctx ends. The next owner of the input partition sends
// those again that are not acknowledged by then.
func (l *partitionProducer) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, l.close)
	defer stop()
	for {
		c, encoded, err := l.take()
		if err != nil { // a codec that cannot compress: the configuration names it, so it cannot heal
			l.tries.lasting.Store(&err)
			l.log.Error().Err(err).Str("topic", l.topic).Int32("partition", l.partition).Str("event", "batch_not_encoded").Msg("cannot encode a record batch; the input partitions that feed it stand still")
			<-ctx.Done()
			return
		}
		if c == nil || !l.send(ctx, *encoded) {
			return
		}
		wire.Return(encoded)
		l.sent(c)
	}
}

// sent notes that the broker has acknowledged an in-flight batch.
func (l *partitionProducer) sent(c *inflightBatch) {
	pause := producerLinger.linger(c.records, c.youngest.age(l.now()))
	c.acknowledge()
	l.putBack(c, pause)
}

// close ends the partition producer and releases those that wait for it to become idle.
func (l *partitionProducer) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.change.Broadcast()
	l.hurryUp()
}

// take waits for records, and returns their in-flight batch, nil at the end, and the batch encoded, in
// a buffer that is lent: few partition producers have one at a time. Routers wait while it encodes: that is
// shorter than filling a batch, and a second batch to fill meanwhile would double the memory.
func (l *partitionProducer) take() (*inflightBatch, *[]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.filling.records == 0 && !l.closed {
		l.change.Wait()
	}
	l.collect()
	if l.closed {
		return nil, nil, nil
	}
	l.closeBundle(l.now())
	encoded := wire.Buffer(l.batch.Size())
	var err error
	if *encoded, err = l.batch.Encode((*encoded)[:0], wire.NoProducer); err != nil {
		return nil, nil, err
	}
	l.batch.Reset()
	c := l.filling
	l.filling, l.spare = l.spare, nil
	l.wanted = false
	l.change.Broadcast()
	return c, encoded, nil
}

// collect lets the batch grow until the next request is due.
func (l *partitionProducer) collect() {
	wait := l.next.Sub(l.now())
	if wait <= 0 {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for !l.enough() && !l.wanted && !l.closed {
		l.mu.Unlock()
		select {
		case <-timer.C:
		case <-l.hurry:
		}
		l.mu.Lock()
		if wait = l.next.Sub(l.now()); wait <= 0 {
			return
		}
		timer.Reset(wait)
	}
}

// flush sends the batch at once if it has a record of these routers.
func (l *partitionProducer) flush(of ...*ackTracker) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range of {
		if _, ok := l.filling.owners[p]; ok {
			l.wanted = true
			l.hurryUp()
			return
		}
	}
}

// hurryUp ends collect, if it may.
func (l *partitionProducer) hurryUp() {
	select {
	case l.hurry <- struct{}{}:
	default: // collect has a token already
	}
}

// putBack gives an in-flight batch back, and lets the next request be sent after a pause.
func (l *partitionProducer) putBack(c *inflightBatch, pause time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spare = c
	l.next = l.now().Add(pause)
	l.change.Broadcast()
}

// idle waits until everything added so far is acknowledged, or ctx ends.
func (l *partitionProducer) idle(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.change.Broadcast()
	})
	defer stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for (l.spare == nil || l.filling.records > 0) && !l.closed && ctx.Err() == nil {
		l.change.Wait()
	}
}

// send repeats one request until the broker has acknowledged it; false: ctx ended first.
func (l *partitionProducer) send(ctx context.Context, encoded []byte) bool {
	l.pulse.at(stepSend)
	defer l.pulse.at(stepIdle)
	defer l.pulse.beat()
	for {
		parts := [1]wire.PartitionBatch{{Topic: l.topic, Partition: l.partition, Batch: encoded}}
		err := l.client.Produce(ctx, "", l.timeout, parts[:])
		if err == nil {
			err = parts[0].Err
		}
		if err == nil {
			l.tries.succeeded()
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		if sentence := refusal(err); sentence != "" {
			l.refused(fatal.Errorf("topic %s partition %d refuses a record batch of %d bytes (%v): %s; nothing is lost, what was not acknowledged is read again", l.topic, l.partition, len(encoded), err, sentence))
			l.close()
			return false
		}
		l.failed()
		l.tries.failed(&l.log, err).Str("topic", l.topic).Int32("partition", l.partition).Str("event", "produce_retry").Msg("produce request failed; it is sent again unchanged")
		if l.tries.sleep(ctx) != nil {
			return false
		}
	}
}

// cannotWrite wraps err with the partition that it keeps from being written to.
func (l *partitionProducer) cannotWrite(err error) error {
	return fmt.Errorf("topic %s partition %d cannot be written to: %w", l.topic, l.partition, err)
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
