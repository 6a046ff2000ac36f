package consumer_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// exchange is one request of an instance, and its answer once there is one.
type exchange struct {
	step    string // API and topics of the request, such as "Produce work"
	request kmsg.Request
	id      int32
	answer  []byte // whole frame; nil while the request is on its way to the broker
}

// verdict is a link's decision on a request or an answer.
type verdict int

const (
	pass    verdict = iota
	sever           // closes the connection instead
	swallow         // the broker never sees it, and the connection stays
)

type dialer = func(ctx context.Context, network, address string) (net.Conn, error)

// link is the network of one instance. Requests and answers travel through it
// frame by frame, so that a test can act between any two of them.
type link struct {
	dialer dialer
	name   func(kmsg.Request) string
	look   func(*exchange) verdict // sees each request before the broker, each answer before the instance; may be nil

	mu    sync.Mutex
	down  bool
	ice   chan struct{} // closed at the thaw; nil: not frozen
	delay time.Duration // of each frame
	conns map[*bridge]struct{}
}

// bridge carries one connection.
type bridge struct {
	link          *link
	near, far     net.Conn // towards the instance, towards the broker
	mu            sync.Mutex
	waiting       []*exchange // requests without an answer, in their order
	left          bool        // the instance has hung up
	half          chan struct{}
	closed        chan struct{}
	once, halving sync.Once
}

func (l *link) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if err := l.up(ctx); err != nil {
		return nil, err
	}
	far, err := l.dialer(ctx, network, address)
	if err != nil {
		return nil, err
	}
	theirs, near := net.Pipe()
	b := &bridge{link: l, near: near, far: far, half: make(chan struct{}), closed: make(chan struct{})}
	l.mu.Lock()
	if l.down {
		l.mu.Unlock()
		b.close()
		return nil, errDown
	}
	if l.conns == nil {
		l.conns = make(map[*bridge]struct{})
	}
	l.conns[b] = struct{}{}
	l.mu.Unlock()
	go b.requests()
	go b.answers()
	return theirs, nil
}

var errDown = errors.New("the network is down")

// up waits until the network is not frozen; an error if it is down.
func (l *link) up(ctx context.Context) error {
	l.mu.Lock()
	down, ice := l.down, l.ice
	l.mu.Unlock()
	if down {
		return errDown
	}
	if ice == nil {
		return nil
	}
	select {
	case <-ice:
		return l.up(ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// cut closes all connections, for good if down.
func (l *link) cut(down bool) {
	l.mu.Lock()
	l.down = l.down || down
	all := maps.Clone(l.conns)
	l.mu.Unlock()
	if down {
		l.thaw()
	}
	for b := range all {
		b.close()
	}
}

// halve makes the open connections half-open: they stay, and nothing comes through.
func (l *link) halve() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for b := range l.conns {
		b.halving.Do(func() { close(b.half) })
	}
}

// freeze holds every frame back until thaw, which then delivers it, late.
func (l *link) freeze() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ice == nil {
		l.ice = make(chan struct{})
	}
}

func (l *link) thaw() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ice != nil {
		close(l.ice)
		l.ice = nil
	}
}

func (l *link) slow(delay time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delay = delay
}

func (b *bridge) close() {
	b.once.Do(func() {
		close(b.closed)
		b.near.Close()
		b.far.Close()
		b.link.mu.Lock()
		delete(b.link.conns, b)
		b.link.mu.Unlock()
	})
}

// hold keeps a frame for as long as the link is frozen or slow; false: the frame is lost. A
// frame on its way when the sender gave up still arrives at the thaw.
func (b *bridge) hold() bool {
	b.link.mu.Lock()
	ice, delay, down := b.link.ice, b.link.delay, b.link.down
	b.link.mu.Unlock()
	if ice != nil {
		<-ice
		return b.hold()
	}
	select {
	case <-b.half:
		return false
	default:
	}
	elapse(delay)
	return !down
}

func (b *bridge) requests() {
	defer b.leave()
	for {
		frame, err := readFrame(b.near)
		if err != nil {
			return
		}
		x := parse(frame)
		x.step = b.link.name(x.request)
		switch b.link.see(x) {
		case pass:
		case sever:
			b.close()
			return
		case swallow:
			continue
		}
		if !b.hold() {
			continue
		}
		b.mu.Lock()
		b.waiting = append(b.waiting, x)
		b.mu.Unlock()
		if _, err := b.far.Write(frame); err != nil {
			return
		}
	}
}

// leave ends the connection when the instance has hung up, but not before the broker has
// answered its requests: a broker acts on a request although no client waits for the answer.
func (b *bridge) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.near.Close()
	if b.left = true; len(b.waiting) == 0 {
		b.close()
	}
}

// next returns the request that is answered next, and whether it is the last one.
func (b *bridge) next() (x *exchange, last bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	x, b.waiting = b.waiting[0], b.waiting[1:]
	return x, b.left && len(b.waiting) == 0
}

func (b *bridge) answers() {
	defer b.close()
	for {
		frame, err := readFrame(b.far)
		if err != nil {
			return
		}
		x, last := b.next()
		x.answer = frame
		if b.link.see(x) == sever || last {
			return
		}
		if !b.hold() {
			continue
		}
		if _, err := b.near.Write(x.answer); err != nil {
			continue // the instance has hung up; see leave
		}
	}
}

func (l *link) see(x *exchange) verdict {
	if l.look == nil {
		return pass
	}
	return l.look(x)
}

func readFrame(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	frame := make([]byte, 4+binary.BigEndian.Uint32(size[:]))
	copy(frame, size[:])
	_, err := io.ReadFull(r, frame[4:])
	return frame, err
}

// parse takes a request's frame apart. A frame that it cannot read is a mistake in the
// instance, and the broker will say so.
func parse(frame []byte) *exchange {
	r := kbin.Reader{Src: frame[4:]}
	key, version, id := r.Int16(), r.Int16(), r.Int32()
	r.NullableString() // client id
	req := kmsg.RequestForKey(key)
	req.SetVersion(version)
	if req.IsFlexible() {
		kmsg.SkipTags(&r)
	}
	_ = req.ReadFrom(r.Src)
	return &exchange{request: req, id: id}
}

// fail replaces every error code in the answer: the broker has carried the request out, and
// says something else.
func (x *exchange) fail(code int16) {
	resp := x.response()
	visitCodes(reflect.ValueOf(resp).Elem(), func(v reflect.Value) { v.SetInt(int64(code)) })
	head := x.head()
	x.answer = resp.AppendTo(x.answer[:head:head])
	binary.BigEndian.PutUint32(x.answer, uint32(len(x.answer)-4))
}

// head is the size of the answer's header, with that of the frame.
func (x *exchange) head() int {
	if x.request.IsFlexible() {
		return 9 // with an empty list of tagged fields
	}
	return 8
}

func (x *exchange) response() kmsg.Response {
	resp := x.request.ResponseKind()
	if err := resp.ReadFrom(x.answer[x.head():]); err != nil {
		panic(err) // the in-process broker writes with the code that reads here
	}
	return resp
}

// code returns the first error code in the answer that is not 0.
func (x *exchange) code() (code int16) {
	visitCodes(reflect.ValueOf(x.response()).Elem(), func(v reflect.Value) {
		if code == 0 {
			code = int16(v.Int())
		}
	})
	return code
}

// visitCodes calls visit with each error code in a response.
func visitCodes(v reflect.Value, visit func(reflect.Value)) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); v.Type().Field(i).Name == "ErrorCode" {
				visit(f)
			} else {
				visitCodes(f, visit)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			visitCodes(v.Index(i), visit)
		}
	}
}

// step names the API and the topics of a request.
func (w *bubble) step(req kmsg.Request) string {
	name := kmsg.NameForKey(req.Key())
	var about []string
	add := func(topic string, id [16]byte) {
		if topic == "" {
			topic = w.names[id]
		}
		about = append(about, strings.TrimPrefix(topic, w.app.ID+"."))
	}
	switch r := req.(type) {
	case *kmsg.ProduceRequest:
		for _, t := range r.Topics {
			add(t.Topic, t.TopicID)
		}
	case *kmsg.FetchRequest:
		for _, t := range r.Topics {
			add(t.Topic, t.TopicID)
		}
	case *kmsg.OffsetCommitRequest:
		for _, t := range r.Topics {
			add(t.Topic, t.TopicID)
		}
	case *kmsg.OffsetFetchRequest:
		for _, t := range r.Topics {
			add(t.Topic, [16]byte{})
		}
	case *kmsg.DeleteRecordsRequest:
		for _, t := range r.Topics {
			add(t.Topic, [16]byte{})
		}
	case *kmsg.ListOffsetsRequest:
		for _, t := range r.Topics {
			add(t.Topic, [16]byte{})
		}
	case *kmsg.AddPartitionsToTxnRequest:
		for _, t := range r.Topics {
			add(t.Topic, [16]byte{})
		}
	case *kmsg.FindCoordinatorRequest:
		about = append(about, map[int8]string{0: "group", 1: "transaction"}[r.CoordinatorType])
	}
	if len(about) == 0 {
		return name
	}
	slices.Sort(about)
	return name + " " + strings.Join(slices.Compact(about), "+")
}
