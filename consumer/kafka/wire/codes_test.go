package wire

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Each code has the name that Kafka gives it, and a code of a newer Kafka at least its number.
func TestCodes(t *testing.T) {
	for code := int16(-1); code <= 133; code++ {
		if code == 0 {
			continue
		}
		e := &CodeError{kafka.Error(code)}
		name := kerr.TypedErrorForCode(code).Message
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
