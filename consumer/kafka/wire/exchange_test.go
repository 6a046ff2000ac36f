package wire

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"trailhound/consumer/kafka/internal/primitive"
)

// deadlined tells when a deadline was set on the connection.
type deadlined struct {
	net.Conn
	set chan struct{}
}

func (c deadlined) SetDeadline(t time.Time) error {
	defer close(c.set)
	return c.Conn.SetDeadline(t)
}

// TestContextEndsWithTheAnswer ends the context when the answer is there, but the
// exchange is not over: the outcome is known, and yet the connection, which has a
// deadline in the past by now, must not be used again.
func TestContextEndsWithTheAnswer(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	ctx, cancel := context.WithCancel(t.Context())
	conn := deadlined{near, make(chan struct{})}
	code := int16(-1)
	c := &Client{Transport: new(kafka.Transport), versions: map[string]apiVersions{
		near.RemoteAddr().String(): {int16(protocol.Heartbeat): {3, 3}},
	}}
	k := &call{client: c, ctx: ctx, api: apiHeartbeat,
		write: func(b []byte, _ int16) []byte { return b },
		read: func(r *primitive.Reader, _ int16) {
			code = r.Int16()
			cancel()
			<-conn.set
		}}
	go func() {
		var frame [14]byte
		_, _ = io.ReadFull(far, frame[:])                      // size, key, version, id 1, client id ""
		_, _ = far.Write([]byte{0, 0, 0, 6, 0, 0, 0, 1, 0, 9}) // size, id 1, code 9
	}()
	if _, err := k.RawExchange(conn); err == nil {
		t.Error("RawExchange = nil after the context has ended; want an error, so that the connection is closed")
	}
	if !k.settle() || code != 9 {
		t.Errorf("the call is answered with code %d; want it answered with 9", code)
	}
}

func TestAbandonedCallTouchesNothing(t *testing.T) {
	k := &call{ctx: t.Context()}
	if k.settle() {
		t.Error("settle() = true before the exchange; want false")
	}
	near, far := net.Pipe()
	defer far.Close()
	defer near.Close()
	if _, err := k.RawExchange(near); err == nil {
		t.Error("RawExchange of a call whose caller has left = nil; want an error")
	}
}

func TestReceive(t *testing.T) {
	for _, c := range []struct {
		name, in, want string
	}{
		{"nothing", "", "closed the connection"},
		{"half a header", "\x00\x00\x00", "closed the connection"},
		{"half a body", "\x00\x00\x00\x08\x00\x00\x00\x07ab", "closed the connection"},
		{"a negative size", "\xff\xff\xff\xff\x00\x00\x00\x07", "claims to be -1 bytes"},
		{"a size without room for the id", "\x00\x00\x00\x03\x00\x00\x00\x07", "claims to be 3 bytes"},
		{"an enormous size", "\x7f\xff\xff\xff\x00\x00\x00\x07", "claims to be 2147483647 bytes"},
		{"another id", "\x00\x00\x00\x04\x00\x00\x00\x08", "answers request 8 instead of 7"},
	} {
		var buffer []byte
		_, err := receive(strings.NewReader(c.in), &buffer, 7)
		if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, protocol.ErrNoRecord) {
			t.Errorf("receive of %s = %v; want an error about %q", c.name, err, c.want)
		}
	}
	var buffer []byte
	got, err := receive(strings.NewReader("\x00\x00\x00\x06\x00\x00\x00\x07ab"), &buffer, 7)
	if err != nil || string(got) != "ab" {
		t.Errorf("receive = %q, %v; want ab", got, err)
	}
}

func TestReceiveBelievesNoSize(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var buffer []byte
	_, err := receive(strings.NewReader("\x0f\xff\xff\xff\x00\x00\x00\x07"+strings.Repeat("x", 1000)), &buffer, 7)
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; err == nil || took > 8<<20 {
		t.Errorf("receive of 1000 bytes that claim to be 256 MiB = %v, and takes %d bytes of memory; want an error, and little", err, took)
	}
}
