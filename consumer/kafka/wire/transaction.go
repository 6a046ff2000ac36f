package wire

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"

	"trailhound/consumer/kafka/internal/primitive"
)

// Session is one life of a transactional producer: the identity in its requests.
type Session struct {
	ID         string // transactional id
	ProducerID int64
	Epoch      int16
}

// InitProducer opens a session of a transactional id: it ends the transaction that an
// earlier session has left open, and fences that session, so that its requests are refused
// from then on. timeout is transaction.timeout.ms. It may be repeated freely.
func (c *Client) InitProducer(ctx context.Context, id string, timeout time.Duration) (Session, error) {
	var code int16
	s := Session{ID: id}
	k := &call{
		api:     apiInitProducerID,
		request: "open a session of transactional id " + id,
		write: func(b []byte, _ int16) []byte {
			b = appendInt32(appendCompact(b, id), milliseconds(timeout))
			b = appendInt64(b, -1) // producer id and epoch: any
			b = appendInt16(b, -1)
			return append(b, 0) // no tagged fields
		},
		read: func(r *primitive.Reader, _ int16) {
			r.Int32() // throttle time
			code, s.ProducerID, s.Epoch = r.Int16(), r.Int64(), r.Int16()
		},
	}
	err := c.coordinate(ctx, coordinatorKey{true, id}, k, func() error {
		return Denied(answered(k.request, code, ""), Right{"Write", "transactional-id", id}, Right{"IdempotentWrite", "cluster", "kafka-cluster"})
	})
	return s, err
}

// AddPartitions adds the partitions of the parts to the session's transaction, which begins
// with that. Refusals are in the parts' Err too; the error returned is the one that caused
// the others.
func (c *Client) AddPartitions(ctx context.Context, s Session, parts []PartitionBatch) error {
	sorted := make([]*PartitionBatch, len(parts))
	for i := range parts {
		sorted[i] = &parts[i]
	}
	slices.SortFunc(sorted, comparePart)
	k := &call{
		api:     apiAddPartitions,
		request: "add partitions to a transaction of " + s.ID,
		write:   func(b []byte, _ int16) []byte { return s.appendPartitions(b, sorted) },
		read:    readAdded(sorted),
	}
	return c.coordinate(ctx, coordinatorKey{true, s.ID}, k, func() error {
		for _, part := range sorted {
			if part.Err != nil {
				part.Err = Denied(part.Err, Right{"Write", "topic", part.Topic}, Right{"Write", "transactional-id", s.ID})
			}
		}
		return addedVerdict(sorted)
	})
}

func (s Session) append(b []byte) []byte {
	return appendInt16(appendInt64(appendString(b, s.ID), s.ProducerID), s.Epoch)
}

func (s Session) appendPartitions(b []byte, parts []*PartitionBatch) []byte {
	b = s.append(b)
	count := len(b)
	b = appendInt32(b, 0)
	topics := uint32(0)
	for len(parts) > 0 {
		n := sameTopic(parts)
		b = appendInt32(appendString(b, parts[0].Topic), int32(n))
		for _, part := range parts[:n] {
			b = appendInt32(b, part.Partition)
		}
		parts, topics = parts[n:], topics+1
	}
	putCount(b[count:], topics)
	return b
}

// readAdded reads the body of an AddPartitionsToTxn v0 to v2 response.
func readAdded(parts []*PartitionBatch) func(r *primitive.Reader, version int16) {
	return func(r *primitive.Reader, _ int16) {
		for _, part := range parts {
			part.Err = fmt.Errorf("%w: it leaves %s partition %d out", errMalformed, part.Topic, part.Partition)
		}
		r.Int32() // throttle time
		for range r.Array(6) {
			topic := r.Text()
			for range r.Array(6) {
				partition, code := r.Int32(), r.Int16()
				i, ok := slices.BinarySearchFunc(parts, &PartitionBatch{Topic: topic, Partition: partition}, comparePart)
				if ok && !r.Bad {
					parts[i].Err = answered(fmt.Sprintf("add %s partition %d to a transaction", topic, partition), code, "")
				}
			}
		}
	}
}

// operationNotAttempted is the code of partitions that fail only with others
// (OPERATION_NOT_ATTEMPTED; kafka-go has no name for it).
const operationNotAttempted = kafka.Error(55)

func addedVerdict(parts []*PartitionBatch) (err error) {
	for _, part := range parts {
		if part.Err != nil && (err == nil || errors.Is(err, operationNotAttempted)) {
			err = part.Err
		}
	}
	return err
}

// EndTxn commits or aborts the session's transaction. After a *NoAnswerError it
// must never be sent again: the broker could take it for the end of the next
// transaction, half of which would be committed.
func (c *Client) EndTxn(ctx context.Context, s Session, commit bool) error {
	var code int16
	k := &call{
		api:     apiEndTxn,
		request: "end a transaction of " + s.ID,
		write:   func(b []byte, _ int16) []byte { return appendBool(s.append(b), commit) },
		read: func(r *primitive.Reader, _ int16) {
			r.Int32() // throttle time
			code = r.Int16()
		},
	}
	return c.coordinate(ctx, coordinatorKey{true, s.ID}, k, func() error {
		return Denied(answered(k.request, code, ""), Right{"Write", "transactional-id", s.ID})
	})
}
