package wire

import (
	"errors"
	"fmt"

	"github.com/segmentio/kafka-go"
)

// NoAnswerError says that a request was sent and not answered: the broker may or
// may not have acted upon it. A request that changes something must not be repeated
// after it unless doing it twice is harmless.
type NoAnswerError struct {
	Request string // what was asked, for people
	Err     error  // what stood in the way: a closed connection, the end of the context
}

func (e *NoAnswerError) Error() string {
	return fmt.Sprintf("%s: no answer, so it is not known whether it was done: %v", e.Request, e.Err)
}

// Unwrap returns what stood in the way.
func (e *NoAnswerError) Unwrap() error { return e.Err }

// CorruptError names a record batch that cannot be read. Either it is Damaged, on
// disk or on its way, and fetching it again may help; or it was written like this:
// malformed, in a format of before Kafka 0.11, or unpacking beyond all measure.
type CorruptError struct {
	Topic     string
	Partition int32
	Offset    int64  // first offset of the batch
	Next      int64  // first offset behind the batch, for stepping over it; 0: unknown
	Damaged   bool   // it is not what was written: its checksum is wrong, or its end is missing
	Reason    string // what is wrong with it
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("topic %s partition %d: the record batch at offset %d cannot be read: %s", e.Topic, e.Partition, e.Offset, e.Reason)
}

// ErrUnsupported (errors.Is) says that a broker's release and this build have no
// version of a request in common. Nothing was sent.
var ErrUnsupported = errors.New("unsupported broker")

// routeError says that a request was not sent because the cached layout of the
// cluster does not say where to.
type routeError struct {
	request string
	code    kafka.Error
	detail  string
}

func (e *routeError) Error() string {
	return fmt.Sprintf("%s: %s: %v", e.request, e.detail, e.code)
}

func (e *routeError) Unwrap() error { return e.code }

// answered returns the error of a broker's answer, nil for code 0.
func answered(request string, code int16, message string) error {
	switch {
	case code == 0:
		return nil
	case message != "":
		return fmt.Errorf("%s: %w: %s", request, kafka.Error(code), message)
	}
	return fmt.Errorf("%s: %w", request, kafka.Error(code))
}

// misled says whether err means that the cached layout led to the wrong broker.
func misled(err error) bool {
	var code kafka.Error
	if !errors.As(err, &code) {
		return false
	}
	switch code {
	case kafka.UnknownTopicOrPartition, kafka.LeaderNotAvailable, kafka.NotLeaderForPartition,
		kafka.BrokerNotAvailable, kafka.ReplicaNotAvailable, kafka.KafkaStorageError,
		kafka.ListenerNotFound, kafka.FencedLeaderEpoch, kafka.UnknownLeaderEpoch, kafka.UnknownTopicID:
		return true
	}
	return false
}

func isCode(err error, want kafka.Error) bool {
	var code kafka.Error
	return errors.As(err, &code) && code == want
}
