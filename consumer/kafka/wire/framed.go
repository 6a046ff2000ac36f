package wire

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/segmentio/kafka-go/protocol"
)

// framed is a connection to a broker that checks the frame of each answer before it is
// decoded: its size, by which a decoder allocates, and its correlation id. kafka-go checks
// neither, and takes the "HTTP" of another server for a gigabyte. framed also keeps to
// throttle_time_ms of each answer, kafka-go's or ours (KIP-219): the next request waits
// until the broker reads from the connection again.
//
// kafka-go's Transport uses it from one goroutine, with one request under way at a time.
// The deadlines may come from other goroutines.
type framed struct {
	net.Conn
	broker string // "host:port", as dialled

	sending  frame
	api      protocol.ApiKey // of the request under way
	version  int16
	id       int32
	reading  frame
	answers  bool // an answer of a Kafka broker has come
	throttle throttleField
	until    time.Time // end of the broker's throttling

	mu       sync.Mutex
	deadline time.Time // of writes
	wake     chan struct{}
}

const (
	requestHead = 12 // size, API key and version, correlation id
	answerHead  = 8  // size, correlation id
)

// frame counts the bytes of a request or an answer that have passed.
type frame struct {
	head [requestHead]byte
	have int // bytes of head
	left int // bytes behind the head that are still to come
}

// fill completes the first n bytes of head from b, and returns the rest of b.
func (f *frame) fill(b []byte, n int) []byte {
	took := copy(f.head[f.have:n], b)
	f.have += took
	return b[took:]
}

func newFramed(conn net.Conn, broker string) *framed {
	return &framed{Conn: conn, broker: broker, wake: make(chan struct{}, 1)}
}

// Write implements net.Conn. A request waits for the end of the broker's throttling; with a
// deadline before that it is not sent.
func (f *framed) Write(b []byte) (int, error) {
	if !f.until.IsZero() {
		if err := f.waitOut(); err != nil {
			return 0, &unsentError{err}
		}
	}
	f.sent(b)
	return f.Conn.Write(b)
}

func (f *framed) sent(b []byte) {
	for s := &f.sending; len(b) > 0; {
		if s.left > 0 {
			n := min(s.left, len(b))
			s.left -= n
			b = b[n:]
			continue
		}
		if b = s.fill(b, requestHead); s.have < requestHead {
			return
		}
		s.have, s.left = 0, int(binary.BigEndian.Uint32(s.head[:]))-(requestHead-4)
		f.api, f.version = protocol.ApiKey(binary.BigEndian.Uint16(s.head[4:])), int16(binary.BigEndian.Uint16(s.head[6:]))
		f.id = int32(binary.BigEndian.Uint32(s.head[8:]))
	}
}

// Read implements net.Conn. It fails with a *ForeignError at the first bytes that no
// broker sends.
func (f *framed) Read(b []byte) (int, error) {
	n, err := f.Conn.Read(b)
	if broken := f.received(b[:n]); broken != nil {
		return 0, broken
	}
	return n, err
}

func (f *framed) received(b []byte) error {
	for r := &f.reading; len(b) > 0; {
		if r.left == 0 {
			b = r.fill(b, answerHead)
			if err := f.check(); err != nil {
				return err
			}
			if r.have < answerHead {
				return nil
			}
			r.have, r.left = 0, int(binary.BigEndian.Uint32(r.head[:]))-(answerHead-4)
			f.answers = true
			f.throttle.begin(f.api, f.version)
			continue
		}
		n := min(r.left, len(b))
		f.throttle.add(b[:n])
		if r.left -= n; r.left == 0 {
			f.throttled(f.throttle.value())
		}
		b = b[n:]
	}
	return nil
}

// check looks at the bytes of an answer's head that have come.
func (f *framed) check() error {
	h := f.reading.head[:f.reading.have]
	if len(h) < 4 {
		return nil
	}
	if size := int(int32(binary.BigEndian.Uint32(h))); size < 4 || size > maxResponse {
		if f.answers {
			return fmt.Errorf("%w: it claims to be %d bytes long", errMalformed, size)
		}
		return f.foreign(h)
	}
	if len(h) < answerHead {
		return nil
	}
	if got := int32(binary.BigEndian.Uint32(h[4:])); got != f.id {
		if f.answers {
			return fmt.Errorf("%w: it answers request %d instead of %d", errMalformed, got, f.id)
		}
		return f.foreign(h)
	}
	return nil
}

func (f *framed) foreign(head []byte) error {
	return &ForeignError{Address: f.broker, Speaks: protocolOf(head), First: string(head)}
}

func (f *framed) throttled(d time.Duration) {
	f.until = time.Time{}
	if d > 0 {
		f.until = time.Now().Add(d)
	}
}

// waitOut waits for the end of the broker's throttling.
func (f *framed) waitOut() error {
	for {
		f.mu.Lock()
		deadline := f.deadline
		f.mu.Unlock()
		now := time.Now()
		wait := f.until.Sub(now)
		if wait <= 0 {
			f.until = time.Time{}
			return nil
		}
		if !deadline.IsZero() && deadline.Before(f.until) {
			return &throttledError{broker: f.broker, left: wait} // a wait up to the deadline would be for nothing
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-f.wake:
			t.Stop()
		}
	}
}

// throttledError says that a request was not sent before its deadline, since the broker
// throttles the connection for longer.
type throttledError struct {
	broker string
	left   time.Duration // rest of the throttling
}

func (e *throttledError) Error() string {
	return fmt.Sprintf("broker %s throttles this client for another %s, by a quota", e.broker, e.left.Round(time.Millisecond))
}

// Unwrap is os.ErrDeadlineExceeded.
func (e *throttledError) Unwrap() error { return os.ErrDeadlineExceeded }

// SetDeadline implements net.Conn.
func (f *framed) SetDeadline(t time.Time) error {
	f.noteDeadline(t)
	return f.Conn.SetDeadline(t)
}

// SetWriteDeadline implements net.Conn.
func (f *framed) SetWriteDeadline(t time.Time) error {
	f.noteDeadline(t)
	return f.Conn.SetWriteDeadline(t)
}

func (f *framed) noteDeadline(t time.Time) {
	f.mu.Lock()
	f.deadline = t
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default: // one is enough: waitOut looks at the latest deadline
	}
}
