package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go/protocol"

	"trailhound/consumer/kafka/internal/primitive"
)

const (
	// maxResponse bounds the bytes read for one answer. Brokers do not take requests, hence
	// batches, beyond 100 MiB (socket.request.max.bytes).
	maxResponse = 256 << 20

	// readStep is the growth of an answer's buffer ahead of the bytes that have come, so
	// that a false length costs the sender as many bytes as us.
	readStep = 1 << 20

	// keptBuffer is the largest buffer that is kept for the next request without regard to
	// its use.
	keptBuffer = 16 << 20
)

// call is one request of our own on a connection of kafka-go's Transport. A
// message that implements protocol.RawExchanger writes and reads the bytes by
// itself, so nothing is registered process-wide, buffers are reused, and versions
// above those that kafka-go knows can be spoken.
//
// The Transport sets the deadline of the context on the connection, but does not pass on
// the end of a context without one. RoundTrip returns at once when the context ends, while
// the exchange goes on in the connection's goroutine. call therefore cuts the exchange off
// itself (cutOff), and settle waits until nothing uses the buffers any more. The Transport
// closes a connection after an exchange with an error and never uses it again, so no answer
// can be taken for that of a later request.
type call struct {
	client  *Client
	api     api
	request string                                          // the request, for errors
	route   func(protocol.Cluster) (protocol.Broker, error) // nil: any broker
	size    int                                             // about the bytes of the body, if they are many
	write   func(b []byte, version int16) []byte            // appends the body
	read    func(r *primitive.Reader, version int16)        // decodes the body; the bytes that it keeps lie in answer
	answer  *[]byte                                         // buffer for the response that outlives the call; nil: a pooled one

	ctx    context.Context
	mu     sync.Mutex
	state  callState
	done   chan struct{} // closed at the end of the exchange
	remote string        // the broker's network address, once connected
	sent   bool          // some of the request may have reached the broker
	broker atomic.Int64  // one more than the id of the broker that is asked; 0: any
}

type callState int

const (
	callWaiting   callState = iota // the Transport has not come to it yet
	callRunning                    // the exchange is under way in the connection's goroutine
	callAnswered                   // the response was received whole, and decoded
	callFailed                     // the exchange ended with an error
	callAbandoned                  // the caller has left before the exchange began
)

var (
	_ protocol.RawExchanger  = (*call)(nil)
	_ protocol.BrokerMessage = (*call)(nil)
)

// anyBroker makes the Transport use one of the connections to the bootstrap addresses.
var anyBroker = protocol.Broker{ID: -1}

// errMalformed says that an answer does not have the form of its version.
var errMalformed = errors.New("the broker's response does not follow the protocol")

// ApiKey implements protocol.Message.
func (k *call) ApiKey() protocol.ApiKey { return k.api.key }

// Required implements protocol.RawExchanger.
func (k *call) Required(map[protocol.ApiKey]int16) bool { return true }

// Broker implements protocol.BrokerMessage.
func (k *call) Broker(layout protocol.Cluster) (protocol.Broker, error) {
	if k.route == nil {
		return anyBroker, nil
	}
	b, err := k.route(layout)
	if err == nil {
		k.broker.Store(int64(b.ID) + 1)
	}
	return b, err
}

// RawExchange implements protocol.RawExchanger.
func (k *call) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	conn, ok := rw.(net.Conn)
	if !ok {
		return nil, fmt.Errorf("kafka-go exchanges raw messages on a %T, which takes no deadline", rw)
	}
	if !k.begin() {
		return nil, context.Canceled
	}
	release := cutOff(k.ctx, conn)
	err := k.exchange(conn)
	cut := release()
	k.end(err)
	if err == nil && cut {
		// The answer is there, but the connection now has a deadline in the past.
		err = context.Canceled
	}
	return k, err
}

// cutOff ends conn's reads and writes when ctx ends. The returned function stops that, and
// says whether the end came first.
func cutOff(ctx context.Context, conn net.Conn) (release func() (cut bool)) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = conn.SetDeadline(time.Unix(1, 0)) // a connection that takes no deadline is broken anyway
	})
	return func() bool {
		if stop() {
			return false
		}
		<-done
		return true
	}
}

func (k *call) begin() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.state != callWaiting {
		return false
	}
	k.state, k.done = callRunning, make(chan struct{})
	return true
}

func (k *call) end(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.state = callAnswered
	if err != nil {
		k.state = callFailed
	}
	close(k.done)
}

// settle is called when RoundTrip has returned, and waits until the call does not touch its
// buffers any more. It says whether there was an answer, which can be so although RoundTrip
// returned an error.
func (k *call) settle() (answered bool) {
	k.mu.Lock()
	if k.state == callWaiting {
		k.state = callAbandoned
	}
	state, done := k.state, k.done
	k.mu.Unlock()
	if state == callRunning {
		<-done // soon: RoundTrip leaves a running exchange only at the end of the context, which cuts it off
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.state == callAnswered
}

// buffers are of requests and their answers: most are of some hundred bytes, those with
// batches of some hundred thousand.
var buffers bufferPool

// Buffer lends a buffer for a part of a request, of about size bytes. It may have any
// length, and goes back with Return once the request has ended.
func Buffer(size int) *[]byte { return buffers.get(size) }

// Return takes back a buffer that Buffer has lent.
func Return(b *[]byte) { buffers.put(b) }

func (k *call) exchange(conn net.Conn) error {
	k.remote = conn.RemoteAddr().String()
	version, err := k.client.negotiate(conn, k.remote, k.api)
	if err != nil {
		return err
	}
	id := k.client.correlation.Add(1)
	// A throttled connection needs the deadline to know for how long to wait.
	deadline, _ := k.ctx.Deadline()
	if err := conn.SetWriteDeadline(deadline); err != nil {
		return fmt.Errorf("set the deadline of a request: %w", err)
	}
	if err := k.ctx.Err(); err != nil { // cutOff may have run before the deadline was set
		return err
	}
	if err := k.send(conn, version, id); err != nil {
		return err
	}
	if err := conn.SetWriteDeadline(time.Time{}); err != nil {
		return fmt.Errorf("clear the deadline of a request: %w", err)
	}
	into := k.answer
	if into == nil {
		into = buffers.get(0)
		defer buffers.put(into)
	}
	body, err := receive(conn, into, id)
	if err != nil {
		return err
	}
	r := primitive.Reader{Rest: body}
	if version >= k.api.flexible {
		r.Tags()
	}
	k.read(&r, version)
	if r.Bad {
		return fmt.Errorf("%w (%s version %d)", errMalformed, k.api.key, version)
	}
	return nil
}

// send writes the request's frame in one piece.
func (k *call) send(conn io.Writer, version int16, id int32) error {
	frame := buffers.get(k.size)
	defer buffers.put(frame)
	b := appendHeader((*frame)[:0], int16(k.api.key), version, id, k.client.Transport.ClientID)
	if version >= k.api.flexible {
		b = append(b, 0) // no tagged fields
	}
	b = k.write(b, version)
	*frame = b
	k.sent = true
	err := writeFrame(conn, b)
	if unsent := (*unsentError)(nil); errors.As(err, &unsent) {
		k.sent = false
	}
	return err
}

// appendHeader starts a frame; its size is filled in by writeFrame.
func appendHeader(b []byte, key, version int16, id int32, clientID string) []byte {
	b = appendInt32(b, 0)
	b = appendInt16(b, key)
	b = appendInt16(b, version)
	b = appendInt32(b, id)
	return appendString(b, clientID)
}

func writeFrame(w io.Writer, frame []byte) error {
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	_, err := w.Write(frame)
	return err
}

// receive reads the answer to request id into the buffer and returns its body,
// which lies in the buffer.
func receive(conn io.Reader, into *[]byte, id int32) ([]byte, error) {
	var head [8]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return nil, unexpected(err)
	}
	size := int(int32(binary.BigEndian.Uint32(head[:])))
	if size < 4 || size > maxResponse {
		return nil, fmt.Errorf("%w: it claims to be %d bytes long", errMalformed, size)
	}
	if got := int32(binary.BigEndian.Uint32(head[4:])); got != id {
		return nil, fmt.Errorf("%w: it answers request %d instead of %d", errMalformed, got, id)
	}
	b := (*into)[:0]
	for left := size - 4; left > 0; {
		n := min(left, max(readStep, len(b))) // at most doubles
		b = slices.Grow(b, n)
		n = min(left, cap(b)-len(b))
		got, err := io.ReadFull(conn, b[len(b):len(b)+n])
		b = b[:len(b)+got]
		left -= got
		if err != nil {
			*into = b
			return nil, unexpected(err)
		}
	}
	*into = b
	return b, nil
}

// unexpected describes the end of a connection in the middle of an exchange.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the broker closed the connection: %w", io.ErrUnexpectedEOF)
	}
	return err
}
