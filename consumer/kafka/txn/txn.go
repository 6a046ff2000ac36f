// Package txn produces Kafka transactions, one at a time for a transactional id.
//
// Its types are few: [Producer] collects records and commits them together, [Committed] has
// their offsets, and three kinds of error differ in the step that must follow: [ErrFenced]
// (another producer has taken the transactional id), [ErrUnknown] (the transaction may or
// may not be committed), [*RejectedError] (this transaction can never be committed as it
// is). Any other error is a refusal that wraps a kafka.Error: an authorisation, a missing
// topic, a broker that is not ready.
//
// Its one guarantee: a Commit without an error has committed every added record, once;
// after any other Commit nothing goes on before Init, which fences and aborts the
// transaction left open (PROTOCOL D4). No request that changes something is ever sent a
// second time after an unknown outcome.
package txn

import (
	"errors"
	"fmt"

	"github.com/segmentio/kafka-go"

	"trailhound/consumer/kafka/wire"
)

// Partition is the destination of a record.
type Partition struct {
	Topic  string
	Number int32
}

// String returns the partition as people write it.
func (p Partition) String() string { return fmt.Sprintf("%s partition %d", p.Topic, p.Number) }

// Committed holds the offsets of a committed transaction. It is valid until the producer's
// next Commit.
type Committed struct{ buffers []partitionBuffer }

// Next returns the offset behind the transaction's last record in a partition:
// that of its commit marker. ok is false for a partition that got no record.
func (c Committed) Next(p Partition) (offset int64, ok bool) {
	for i := range c.buffers {
		if buf := &c.buffers[i]; buf.to == p && buf.sent > 0 {
			return buf.next, true
		}
	}
	return 0, false
}

// ErrFenced (errors.Is) says that the session is over: another producer has opened one of
// the same transactional id, or the coordinator has aborted a transaction that outlasted
// its time-out. Nothing of the transaction is or will be committed.
var ErrFenced = errors.New("the transactional session is fenced")

// ErrUnknown (errors.Is) says that a step of the transaction has no certain outcome: there
// was no answer, or one that leaves it open. Only reading back the records tells whether
// the transaction is committed.
var ErrUnknown = errors.New("the outcome of the transaction is unknown")

// RejectedError says that a broker will never take the records as they are: one of
// MESSAGE_TOO_LARGE (10), RECORD_LIST_TOO_LARGE (18), INVALID_TIMESTAMP (32),
// INVALID_RECORD (87). Repeating the transaction unchanged gives the same error.
type RejectedError struct {
	Partition Partition
	Code      kafka.Error
	Detail    string // the reason, for people
}

func (e *RejectedError) Error() string {
	return fmt.Sprintf("records for %v are refused: %s", e.Partition, e.Detail)
}

// Unwrap returns the code.
func (e *RejectedError) Unwrap() error { return e.Code }

// step is a request of a transaction; the meaning of its errors depends on it.
type step int

const (
	stepInit step = iota
	stepAdd
	stepProduce
	stepEnd
)

// classify turns the error of a step into one of the package's kinds.
func classify(at step, to Partition, err error) error {
	if err == nil {
		return nil
	}
	code, answered := errors.AsType[kafka.Error](err)
	switch class := wire.ClassOf(err); {
	case class == wire.Fenced:
		return fmt.Errorf("%w: %w", ErrFenced, err)
	case class == wire.Rejected && at == stepProduce:
		return &RejectedError{Partition: to, Code: code, Detail: err.Error()}
	case !answered && at != stepInit, leavesOpen(at, code):
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	return err
}

// leavesOpen says whether a broker that answers a step with this code may have done the
// step nevertheless: it wrote to its log, and did not hear of all replicas, or did not name
// the cause. The coordinator answers "not available" and "not coordinator" also when a
// write to its own log ended so.
func leavesOpen(at step, code kafka.Error) bool {
	switch code {
	case kafka.Unknown, kafka.RequestTimedOut, kafka.NetworkException, kafka.NotEnoughReplicasAfterAppend:
		return at != stepInit
	case kafka.ConcurrentTransactions, kafka.KafkaStorageError:
		return at == stepEnd
	}
	return at == stepEnd && wire.ClassOf(code) == wire.CoordinatorMoved
}

// rank orders errors by their weight for the caller, when several partitions of one
// transaction have failed differently.
func rank(err error) int {
	var rejected *RejectedError
	switch {
	case errors.Is(err, ErrFenced):
		return 4
	case errors.As(err, &rejected):
		return 3
	case errors.Is(err, ErrUnknown):
		return 2
	case err != nil:
		return 1
	}
	return 0
}
