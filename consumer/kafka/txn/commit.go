package txn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"

	"trailhound/consumer/kafka/wire"
)

// Commit writes all records that were added since the last Commit in one transaction, and
// returns when it is committed. Without records it does nothing.
//
// The order is that of PROTOCOL D4: the partitions are added to the transaction in one
// request; their batches are produced, one request in flight for each broker; the
// transaction is ended once, and only if every batch was acknowledged. A request is
// repeated only after CONCURRENT_TRANSACTIONS, as long as ctx and RequestTimeout allow:
// then the previous transaction is not quite written out yet, and nothing was done.
//
// After an error the added records are gone, and Init is the only continuation.
func (p *Producer) Commit(ctx context.Context) (Committed, error) {
	if p.state != stateReady {
		return Committed{}, fmt.Errorf("commit of %s: there is no session: Init must come first, and again after each Commit that failed", p.ID)
	}
	records, _ := p.Pending()
	if records == 0 {
		return Committed{}, nil
	}
	p.state = stateBroken
	err := p.transact(ctx)
	p.discard()
	if err != nil {
		return Committed{}, fmt.Errorf("commit of %s: %w", p.ID, err)
	}
	p.state = stateReady
	return Committed{p.buffers}, nil
}

func (p *Producer) transact(ctx context.Context) error {
	if p.refused != nil {
		return p.refused
	}
	if err := p.addPartitions(ctx); err != nil {
		return err
	}
	for {
		more, err := p.produce(ctx)
		if err != nil {
			return err
		}
		if !more {
			break
		}
	}
	return p.repeat(ctx, stepEnd, func(ctx context.Context) error {
		return p.Client.EndTxn(ctx, p.session, true)
	})
}

func (p *Producer) addPartitions(ctx context.Context) error {
	p.parts = p.parts[:0]
	for i := range p.buffers {
		buf := &p.buffers[i]
		buf.sent = 0
		if len(buf.batches) > 0 {
			p.parts = append(p.parts, wire.PartitionBatch{Topic: buf.to.Topic, Partition: buf.to.Number})
		}
	}
	return p.repeat(ctx, stepAdd, func(ctx context.Context) error {
		return p.Client.AddPartitions(ctx, p.session, p.parts)
	})
}

// repeat does a step until its answer is not CONCURRENT_TRANSACTIONS.
func (p *Producer) repeat(ctx context.Context, at step, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, p.requestTimeout())
	defer cancel()
	for wait := (wire.Backoff{Least: time.Millisecond, Most: 100 * time.Millisecond}); ; {
		err := do(ctx)
		if errors.Is(err, kafka.ConcurrentTransactions) && wait.Sleep(ctx) == nil {
			continue
		}
		return classify(at, Partition{}, err)
	}
}

// produce sends the next batch of every partition that has one left, up to
// maxRequest, and says whether there are more. The next request waits for the
// answers to this one: with two of one transaction in flight, a broker may refuse
// the later one.
func (p *Producer) produce(ctx context.Context) (more bool, err error) {
	const header = 256 // of a batch, with room to spare
	size := min(p.Held()+header*len(p.buffers), maxRequest)
	encoded := wire.Buffer(size)
	defer wire.Return(encoded)
	*encoded = slices.Grow((*encoded)[:0], size) // else it may become twice as large as it has to be
	chosen, more, err := p.encode(encoded)
	if err != nil {
		return false, err
	}
	timeout := p.requestTimeout()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	// Each part has an outcome of its own, and an error here is among them.
	_ = p.Client.Produce(ctx, p.ID, timeout, p.parts)
	for i, buf := range chosen {
		part := &p.parts[i]
		part.Batch = nil // its bytes go back to the pool
		if failure := classify(stepProduce, buf.to, part.Err); rank(failure) > rank(err) {
			err = failure
		}
		n := buf.batches[buf.sent].Len()
		buf.advance(n)
		buf.next = part.BaseOffset + int64(n)
		buf.sent++
	}
	return more, err
}

// encode fills p.parts with one batch of each chosen buffer; their bytes lie in encoded.
func (p *Producer) encode(encoded *[]byte) (chosen []*partitionBuffer, more bool, err error) {
	p.parts = p.parts[:0]
	var ends []int
	for i := range p.buffers {
		buf := &p.buffers[i]
		if buf.sent == len(buf.batches) {
			continue
		}
		b := buf.batches[buf.sent]
		if len(chosen) > 0 && len(*encoded)+b.Size() > maxRequest {
			more = true
			continue
		}
		*encoded, err = b.Encode(*encoded, wire.BatchOptions{
			ProducerID: p.session.ProducerID, Epoch: p.session.Epoch, Sequence: buf.sequence, Transactional: true,
		})
		if err != nil {
			return nil, false, fmt.Errorf("records for %v: %w", buf.to, err)
		}
		chosen, ends = append(chosen, buf), append(ends, len(*encoded))
		p.parts = append(p.parts, wire.PartitionBatch{Topic: buf.to.Topic, Partition: buf.to.Number})
		more = more || buf.sent+1 < len(buf.batches)
	}
	start := 0
	for i, end := range ends { // only now: encoded may have moved while it grew
		p.parts[i].Batch = (*encoded)[start:end]
		start = end
	}
	return chosen, more, nil
}
