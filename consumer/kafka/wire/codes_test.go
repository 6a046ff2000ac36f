package wire

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Each code has the name that Kafka gives it, and is retriable where Kafka says so; a code of
// a newer Kafka has at least its number.
func TestCodes(t *testing.T) {
	for code := int16(-1); code <= 136; code++ {
		if code == 0 {
			continue
		}
		e, theirs := &CodeError{kafka.Error(code)}, kerr.TypedErrorForCode(code)
		// Kafka's own producer repeats a request after CONCURRENT_TRANSACTIONS.
		if got, want := Retriable(e), theirs.Retriable || theirs == kerr.ConcurrentTransactions; got != want {
			t.Errorf("Retriable(%v) = %v; want %v", e, got, want)
		}
		name := theirs.Message
		if code == 6 {
			name = "NOT_LEADER_OR_FOLLOWER" // its name since Kafka 2.6
		}
		if got := e.Error(); !strings.HasPrefix(got, fmt.Sprintf("%s (%d): ", name, code)) || strings.HasSuffix(got, ": ") {
			t.Errorf("CodeError(%d) = %q; want %s (%d) and a sentence", code, got, name, code)
		}
	}
	if got, want := (&CodeError{kafka.Error(2000)}).Error(), "error code 2000"; got != want {
		t.Errorf("CodeError(2000) = %q; want %q", got, want)
	}
}

// Without an answer a request is worth repeating, unless no version of it is understood.
func TestRetriable(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{errors.New("connection refused"), true},
		{&UnknownOutcomeError{Request: "produce", Err: errors.New("closed")}, true},
		{fmt.Errorf("fetch: %w", ErrUnsupported), false},
		{fmt.Errorf("fetch: %w", kafka.NotLeaderForPartition), true},
		{&DeniedError{Err: kafka.TopicAuthorizationFailed}, false},
		{kafka.Error(2000), false},
	} {
		if got := Retriable(c.err); got != c.want {
			t.Errorf("Retriable(%v) = %v; want %v", c.err, got, c.want)
		}
	}
}

// Named gives kafka-go's errors another text and nothing else.
func TestNamed(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{kafka.Error(110), "FENCED_MEMBER_EPOCH (110): "},
		{fmt.Errorf("join: %w", kafka.TopicAuthorizationFailed), "join: TOPIC_AUTHORIZATION_FAILED (29): "},
		{fmt.Errorf("join: %w", &CodeError{kafka.TopicAuthorizationFailed}), "join: TOPIC_AUTHORIZATION_FAILED (29): "},
		{errors.New("no code"), "no code"},
	} {
		got := Named(c.err)
		if !strings.HasPrefix(got.Error(), c.want) || !errors.Is(got, c.err) {
			t.Errorf("Named(%v) = %v; want %s…, which is still the error", c.err, got, c.want)
		}
	}
	if got := Named(nil); got != nil {
		t.Errorf("Named(nil) = %v; want nil", got)
	}
}
