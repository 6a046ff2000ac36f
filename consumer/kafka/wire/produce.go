package wire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/segmentio/kafka-go/protocol"

	"trailhound/consumer/kafka/internal/primitive"
)

// PartitionBatch is a record batch on its way to one partition, with its outcome.
type PartitionBatch struct {
	Topic     string
	Partition int32
	Batch     []byte // as Batch.Encode makes it

	// Err is nil when the batch was written and replicated to all in-sync replicas, a
	// kafka.Error (errors.As) when a broker refused it or the partition has no leader, and
	// otherwise the cause for which there was no answer.
	Err        error
	BaseOffset int64 // offset of the batch's first record; -1 if unknown
}

// Produce writes the batches with acks=all, in one request for each leader, all at
// the same time. The transactional id is "" outside of transactions; all batches
// of one call are either transactional or not. timeout is how long the leaders may
// wait for their replicas.
//
// It returns an error when parts went without an answer: these have it as their Err too.
// Answers of brokers, good or bad, are in the parts alone. No request is sent a second
// time.
func (c *Client) Produce(ctx context.Context, transactionalID string, timeout time.Duration, parts []PartitionBatch) error {
	if len(parts) == 0 {
		return nil
	}
	if c.Addr == nil {
		return refuse(parts, fmt.Errorf("produce: no broker address is configured"))
	}
	limited, cancel := context.WithTimeout(ctx, c.requestTimeout()+timeout)
	defer cancel()
	p := &produce{client: c, ctx: limited, transactionalID: transactionalID, timeout: timeout}
	if err := p.sort(parts); err != nil {
		return refuse(parts, err)
	}
	err := p.roundTrip()
	if p.nowhere {
		// Some have no leader, so nothing has been sent yet: the layout may be old.
		c.Refresh(limited)
		p.insist = true
		err = p.roundTrip()
	}
	if err == nil && len(p.calls) == 0 {
		if err := c.why(limited, p.parts[0].Err); !errors.Is(err, p.parts[0].Err) {
			return refuse(parts, err)
		}
	}
	return p.settle(ctx, err)
}

func refuse(parts []PartitionBatch, err error) error {
	for i := range parts {
		parts[i].Err, parts[i].BaseOffset = err, -1
	}
	return err
}

// produce is the message that the Transport splits by leader.
type produce struct {
	client          *Client
	ctx             context.Context
	transactionalID string
	timeout         time.Duration
	parts           []*PartitionBatch // by topic and partition
	calls           []*produceCall
	nowhere         bool // the layout lacks a leader
	insist          bool // send to the leaders that there are
}

// produceCall is the request to one leader.
type produceCall struct {
	call
	parts []*PartitionBatch
	err   error // of the Transport
}

var (
	_ protocol.Splitter = (*produce)(nil)
	_ protocol.Merger   = (*produce)(nil)
)

func (p *produce) sort(parts []PartitionBatch) error {
	p.parts = make([]*PartitionBatch, len(parts))
	for i := range parts {
		p.parts[i] = &parts[i]
		parts[i].Err, parts[i].BaseOffset = nil, -1
	}
	slices.SortFunc(p.parts, comparePart)
	for i := 1; i < len(p.parts); i++ {
		if a := p.parts[i]; comparePart(p.parts[i-1], a) == 0 {
			return fmt.Errorf("produce to %s partition %d: two batches in one call, of which brokers would take one", a.Topic, a.Partition)
		}
	}
	return nil
}

func comparePart(a, b *PartitionBatch) int {
	return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
}

func (p *produce) roundTrip() error {
	p.nowhere = false
	_, err := p.client.Transport.RoundTrip(p.ctx, p.client.Addr, p)
	for _, k := range p.calls {
		p.client.under.end(&k.call)
	}
	return err
}

// ApiKey implements protocol.Message.
func (p *produce) ApiKey() protocol.ApiKey { return protocol.Produce }

// Split implements protocol.Splitter.
func (p *produce) Split(layout protocol.Cluster) ([]protocol.Message, protocol.Merger, error) {
	groups := make(map[int32]*produceCall)
	p.calls = nil
	for _, part := range p.parts {
		leader, err := leaderOf(layout, describePart(part), part.Topic, part.Partition)
		if err != nil {
			if part.Err, p.nowhere = err, !p.insist; p.nowhere {
				return nil, nil, err
			}
			continue
		}
		part.Err = nil
		k := groups[leader.ID]
		if k == nil {
			k = p.newCall(leader)
			k.broker.Store(int64(leader.ID) + 1)
			groups[leader.ID] = k
		}
		k.parts = append(k.parts, part)
		k.size += len(part.Batch)
	}
	messages := make([]protocol.Message, len(p.calls))
	for i, k := range p.calls {
		k.request = describePart(k.parts[0])
		if more := len(k.parts) - 1; more > 0 {
			k.request = fmt.Sprintf("%s and %d more", k.request, more)
		}
		p.client.under.begin(&k.call, 0)
		messages[i] = k
	}
	return messages, p, nil
}

func describePart(a *PartitionBatch) string {
	return fmt.Sprintf("produce to %s partition %d", a.Topic, a.Partition)
}

func (p *produce) newCall(leader protocol.Broker) *produceCall {
	k := &produceCall{}
	k.client, k.ctx, k.api = p.client, p.ctx, apiProduce
	k.route = func(protocol.Cluster) (protocol.Broker, error) { return leader, nil }
	k.write = func(b []byte, _ int16) []byte { return p.append(b, k.parts) }
	k.read = func(r *primitive.Reader, version int16) {
		readProduced(r, version, k.parts)
		for _, part := range k.parts {
			if part.Err != nil {
				part.Err = Denied(part.Err, Right{"Write", "topic", part.Topic}, Right{"Write", "transactional-id", p.transactionalID})
			}
		}
	}
	p.calls = append(p.calls, k)
	return k
}

// append writes the body of Produce v7 and v8.
func (p *produce) append(b []byte, parts []*PartitionBatch) []byte {
	b = appendNullable(b, p.transactionalID)
	b = appendInt16(b, -1) // acks: all in-sync replicas
	b = appendInt32(b, milliseconds(p.timeout))
	topics := len(b)
	b = appendInt32(b, 0)
	count := uint32(0)
	for len(parts) > 0 {
		n := sameTopic(parts)
		b = appendString(b, parts[0].Topic)
		b = appendInt32(b, int32(n))
		for _, part := range parts[:n] {
			b = appendInt32(b, part.Partition)
			b = appendBytes(b, part.Batch)
		}
		parts = parts[n:]
		count++
	}
	putCount(b[topics:], count)
	return b
}

// sameTopic counts the parts at the start of sorted ones that share a topic.
func sameTopic(parts []*PartitionBatch) int {
	n := 1
	for n < len(parts) && parts[n].Topic == parts[0].Topic {
		n++
	}
	return n
}

// readProduced reads the body of a Produce v7 or v8 response. Parts that the response
// leaves out are given an error.
func readProduced(r *primitive.Reader, version int16, parts []*PartitionBatch) {
	for _, part := range parts {
		part.Err = &UnknownOutcomeError{Request: describePart(part), Err: fmt.Errorf("%w: it leaves this partition out", errMalformed)}
	}
	for range r.Array(6) {
		topic := r.Text()
		for range r.Array(30) {
			partition, code, base := r.Int32(), r.Int16(), r.Int64()
			r.Int64() // log append time
			r.Int64() // log start offset
			message := ""
			if version >= 8 {
				message = readRecordErrors(r)
			}
			i, ok := slices.BinarySearchFunc(parts, &PartitionBatch{Topic: topic, Partition: partition}, comparePart)
			if ok && !r.Bad {
				parts[i].Err = answered(describePart(parts[i]), code, message)
				parts[i].BaseOffset = base
			}
		}
	}
	r.Int32() // throttle time
}

// readRecordErrors returns the broker's reason for refusing a batch (KIP-467).
func readRecordErrors(r *primitive.Reader) string {
	first := ""
	for range r.Array(6) {
		r.Int32() // index in the batch
		if text := r.Text(); first == "" {
			first = text
		}
	}
	if message := r.Text(); message != "" {
		return message
	}
	return first
}

// Merge implements protocol.Merger.
func (p *produce) Merge(_ []protocol.Message, results []any) (protocol.Message, error) {
	for i, result := range results {
		p.calls[i].err, _ = result.(error)
	}
	return p, nil
}

// settle gives every part its outcome; err is that of RoundTrip.
func (p *produce) settle(ctx context.Context, err error) error {
	if err != nil && len(p.calls) == 0 {
		err = fmt.Errorf("%s: not sent: %w", describePart(p.parts[0]), err)
		for _, part := range p.parts {
			part.Err = err
		}
		return err
	}
	var first error
	for _, k := range p.calls {
		if k.settle() {
			continue
		}
		p.client.forgetVersions(k.remote)
		failure := k.failure(cmp.Or(k.err, err, io.ErrUnexpectedEOF))
		for _, part := range k.parts {
			part.Err, part.BaseOffset = failure, -1
		}
		first = cmp.Or(first, failure)
	}
	if first != nil || slices.ContainsFunc(p.parts, func(a *PartitionBatch) bool { return misled(a.Err) }) {
		p.client.Refresh(ctx)
	}
	return first
}
