package wire

import (
	"errors"
	"fmt"
	"strings"

	"github.com/segmentio/kafka-go"
)

// UnknownOutcomeError says that a request was sent and not answered: the broker may or may not
// have acted upon it. A request with an effect must not be repeated after it, unless its
// repetition is harmless.
type UnknownOutcomeError struct {
	Request string // the request, for people
	Err     error  // the cause: a closed connection, the end of the context
}

func (e *UnknownOutcomeError) Error() string {
	return fmt.Sprintf("%s: no answer, so it is not known whether it was done: %v", e.Request, e.Err)
}

// Unwrap returns the cause.
func (e *UnknownOutcomeError) Unwrap() error { return e.Err }

// AuthenticationError says that a broker refuses this client's authentication by SASL. It
// wraps the broker's answer, with a kafka.Error (errors.As).
type AuthenticationError struct {
	Broker    string   // "host:port"
	Mechanism string   // as Kafka names it: SCRAM-SHA-512, …
	Offered   []string // mechanisms that the broker takes instead; nil: it refused for another reason
	Err       error
}

func (e *AuthenticationError) Error() string {
	if e.Offered != nil {
		return fmt.Sprintf("broker %s does not take %s, only %s", e.Broker, e.Mechanism, strings.Join(e.Offered, ", "))
	}
	return fmt.Sprintf("broker %s refuses to authenticate this client by %s: %v", e.Broker, e.Mechanism, e.Err)
}

// Unwrap returns the broker's answer.
func (e *AuthenticationError) Unwrap() error { return e.Err }

// CredentialError says that a credential for brokers, a password, a token or a certificate,
// cannot be had. No broker was asked.
type CredentialError struct{ Err error }

func (e *CredentialError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *CredentialError) Unwrap() error { return e.Err }

// DeniedError names the right that this user lacks, in the words of Kafka's ACLs. The code
// of a broker does not: one code stands for all operations on a topic, one for those on a
// group, and so on.
type DeniedError struct {
	Operation string // Read, Write, Describe, DescribeConfigs, Delete, Create, …
	Resource  string // topic, group, transactional-id or cluster: an option of kafka-acls.sh
	Name      string
	Err       error // with the kafka.Error
}

func (e *DeniedError) Error() string {
	return fmt.Sprintf("not authorized: %s on %s %s: %v; trailhound acls print prints the commands for this account, of which the one with --operation %s %s grants it",
		e.Operation, strings.ReplaceAll(e.Resource, "-", " "), e.Name, e.Err, e.Operation, e.option())
}

// option names the resource for kafka-acls.sh. A transactional id is one of many, with the
// app before its first dot.
func (e *DeniedError) option() string {
	app, _, many := strings.Cut(e.Name, ".")
	switch {
	case e.Resource == "cluster":
		return "--cluster"
	case e.Resource == "transactional-id" && many:
		return "--transactional-id " + app + ". --resource-pattern-type prefixed"
	}
	return "--" + e.Resource + " " + e.Name
}

// Unwrap returns the broker's answer.
func (e *DeniedError) Unwrap() error { return e.Err }

// Right is an operation on a resource that a request needs, as in [DeniedError].
type Right struct{ Operation, Resource, Name string }

// Denied returns err as a *DeniedError, if it refuses one of these rights, each on another
// kind of resource; else err with Kafka's name for its code (see [Named]), nil included.
func Denied(err error, rights ...Right) error {
	err = Named(err)
	code, ok := errors.AsType[kafka.Error](err)
	if _, done := errors.AsType[*DeniedError](err); !ok || done {
		return err
	}
	resource := map[kafka.Error]string{
		kafka.TopicAuthorizationFailed:           "topic",
		kafka.GroupAuthorizationFailed:           "group",
		kafka.TransactionalIDAuthorizationFailed: "transactional-id",
		kafka.ClusterAuthorizationFailed:         "cluster",
	}[code]
	for _, r := range rights {
		if r.Resource == resource {
			return &DeniedError{Operation: r.Operation, Resource: r.Resource, Name: r.Name, Err: err}
		}
	}
	return err
}

// CorruptError names a record batch that cannot be read. Either it is Damaged, on
// disk or on its way, and fetching it again may help; or it was written like this:
// malformed, in a format of before Kafka 0.11, or unpacking beyond all measure.
type CorruptError struct {
	Topic     string
	Partition int32
	Offset    int64  // first offset of the batch
	Next      int64  // first offset behind the batch, for stepping over it; 0: unknown
	Damaged   bool   // the bytes are not those written: the checksum is wrong, or the end is missing
	Record    int    // bytes of the record at Offset that takes more memory than a record may; 0: the error is of the whole batch
	Reason    string // the fault, for people
	Err       error  // the error of unpacking; nil: the fault is another one
	Bytes     []byte // records of the batch, as they came, valid until the next fetch; or the beginning of the one record's value
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("topic %s partition %d: the record batch at offset %d cannot be read: %s", e.Topic, e.Partition, e.Offset, e.Reason)
}

// Unwrap returns the error of unpacking.
func (e *CorruptError) Unwrap() error { return e.Err }

// ErrUnsupported (errors.Is) says that a broker's release and this build have no
// version of a request in common. Nothing was sent.
var ErrUnsupported = errors.New("unsupported broker")

// NoTransactionsError says that the brokers have no transactions.
type NoTransactionsError struct{ Err error }

func (e *NoTransactionsError) Error() string {
	return fmt.Sprintf("these brokers have no transactions, by which each alert is published exactly once: %v; use Apache Kafka 2.8 or newer, or a service with all of its transactions (Azure Event Hubs: Premium or Dedicated)", e.Err)
}

// Unwrap returns the cause.
func (e *NoTransactionsError) Unwrap() error { return e.Err }

// routeError says that a request was not sent because the cached layout of the cluster has
// no broker for it.
type routeError struct {
	request string
	code    kafka.Error
	detail  string
}

func (e *routeError) Error() string {
	return fmt.Sprintf("%s: %s: %v", e.request, e.detail, &CodeError{e.code})
}

func (e *routeError) Unwrap() error { return e.code }

// answered returns the error of a broker's answer, nil for code 0.
func answered(request string, code int16, message string) error {
	switch {
	case code == 0:
		return nil
	case message != "":
		return fmt.Errorf("%s: %w: %s", request, codeError(code), message)
	}
	return fmt.Errorf("%s: %w", request, codeError(code))
}

// misled says whether err means that the cached layout led to the wrong broker.
func misled(err error) bool {
	class := ClassOf(err)
	return class == LeaderMoved || class == UnknownTopic || class == OtherTopic
}
