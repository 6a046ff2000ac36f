package group

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/kafka/wire"
)

// network connects clients and kfake by pipes, so that all of them live in one
// synctest bubble, and can be cut.
type network struct {
	mu        sync.Mutex
	listeners map[string]*listener
	conns     []net.Conn
	down      bool
}

var errDown = errors.New("the network is down")

type listener struct {
	network  *network
	addr     net.Addr
	incoming chan net.Conn
	closed   chan struct{}
	once     sync.Once
}

func (n *network) listen(_, _ string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := &listener{
		network: n, addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9000 + len(n.listeners)},
		incoming: make(chan net.Conn), closed: make(chan struct{}),
	}
	n.listeners[l.addr.String()] = l
	return l, nil
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.incoming:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Addr() net.Addr { return l.addr }

func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (n *network) dial(ctx context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	l, down := n.listeners[address], n.down
	n.mu.Unlock()
	if l == nil || down {
		return nil, fmt.Errorf("dial %s: %w", address, errDown)
	}
	client, server := net.Pipe()
	select {
	case l.incoming <- server:
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns = append(n.conns, client, server)
	return client, nil
}

// cut ends all connections and lets no new ones through until it is called again.
func (n *network) cut(down bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = down
	if !down {
		return
	}
	for _, c := range n.conns {
		_ = c.Close()
	}
	n.conns = nil
}

// bubble runs a test with kfake in a bubble of virtual time, with one topic of four
// shards.
func bubble(t *testing.T, test func(b *bench, c *kfake.Cluster, n *network)) {
	t.Helper()
	kafkatest.Bubble(t, func(t *testing.T) {
		n := &network{listeners: make(map[string]*listener)}
		c := kafkatest.Fake(t, 3, kfake.ListenFn(n.listen), kfake.SeedTopics(4, "work"))
		addrs := c.ListenAddrs()
		b := newBench(t, func() *wire.Client { return wire.NewClient(addrs, n.dial, nil, nil) })
		b.shards, b.topics = "work", []string{"work"}
		test(b, c, n)
	})
}

// pass lets virtual time go by.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
