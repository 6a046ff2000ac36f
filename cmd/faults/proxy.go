package main

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// mode tells a link how to treat the bytes that pass through it. The zero mode passes them on.
type mode struct {
	delay   time.Duration // each chunk comes so much later
	rate    int           // bytes per second; 0: as fast as they come
	cut     bool          // existing connections are closed, new ones refused
	holdUp  bool          // bytes from the client stay on the way, though the connection lives
	holdDn  bool          // likewise bytes from the broker
	swallow bool          // likewise bytes from the client, from a connection's first request to a leader on
	lose    bool          // when the mode ends, connections with bytes on the way are closed; else the bytes arrive late
}

// proxy stands between one instance and all brokers. It has one link for each broker.
type proxy struct{ links []*link }

// newProxy accepts connections at each listener and forwards them to the target of the same index, until close.
func newProxy(listeners []net.Listener, targets []string) *proxy {
	p := &proxy{}
	for i, l := range listeners {
		k := &link{listener: l, target: targets[i], changed: make(chan struct{}), connections: make(map[*connection]bool)}
		p.links = append(p.links, k)
		go k.accept()
	}
	return p
}

// set puts the links to the given brokers, numbered from 1, into a mode; no brokers: all.
func (p *proxy) set(m mode, brokers ...int) {
	if len(brokers) == 0 {
		for _, k := range p.links {
			k.set(m)
		}
	}
	for _, b := range brokers {
		p.links[b-1].set(m)
	}
}

func (p *proxy) close() {
	for _, k := range p.links {
		k.listener.Close()
		k.set(mode{cut: true})
	}
}

// link is the way from one instance to one broker.
type link struct {
	listener net.Listener
	target   string
	held     atomic.Int32 // pieces that wait for another mode

	mu          sync.Mutex
	mode        mode
	changed     chan struct{} // closed when the mode changes
	connections map[*connection]bool
}

// connection is one client's connection and the broker's end of it.
type connection struct {
	client, broker net.Conn
	once           sync.Once
	closed         chan struct{}
}

func (c *connection) close() {
	c.once.Do(func() {
		close(c.closed)
		reset(c.client)
		reset(c.broker)
	})
}

// reset closes a connection at once; its peer sees a reset, not an orderly end.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // the connection may be gone already
	}
	c.Close()
}

func (k *link) accept() {
	for {
		client, err := k.listener.Accept()
		if err != nil {
			return
		}
		go k.serve(client)
	}
}

func (k *link) serve(client net.Conn) {
	if m, _ := k.current(); m.cut {
		reset(client)
		return
	}
	broker, err := net.Dial("tcp", k.target)
	if err != nil {
		reset(client)
		return
	}
	c := &connection{client: client, broker: broker, closed: make(chan struct{})}
	if !k.add(c) {
		c.close()
		return
	}
	defer k.remove(c)
	var pumps sync.WaitGroup
	pumps.Go(func() { k.pump(c, broker, client, true) })
	pumps.Go(func() { k.pump(c, client, broker, false) })
	pumps.Wait()
	c.close()
}

// pump forwards one direction to its end. An orderly end is passed on behind the last byte, so that a request that was
// held back still arrives when its sender has given up.
func (k *link) pump(c *connection, to, from net.Conn, up bool) {
	buf := make([]byte, 64<<10)
	var asked requests
	for {
		n, err := from.Read(buf)
		free := n // bytes before a request to a leader
		if up {
			free = asked.toLeader(buf[:n])
		}
		if k.forward(c, to, buf[:free], up, false) != nil || k.forward(c, to, buf[free:n], up, true) != nil {
			c.close()
			return
		}
		if errors.Is(err, io.EOF) {
			if tcp, ok := to.(*net.TCPConn); ok {
				_ = tcp.CloseWrite() // a peer out of its reach has gone
			}
			return
		}
		if err != nil {
			c.close()
			return
		}
	}
}

// forward writes a piece once it may go on; leader tells that the piece begins with a
// request to a leader.
func (k *link) forward(c *connection, to net.Conn, piece []byte, up, leader bool) error {
	if len(piece) == 0 {
		return nil
	}
	if err := k.pass(c, up, leader, len(piece)); err != nil {
		return err
	}
	_, err := to.Write(piece)
	return err
}

var errLost = errors.New("lost on the way")

// pass returns when n bytes may go on.
func (k *link) pass(c *connection, up, leader bool, n int) error {
	for {
		m, changed := k.current()
		if held := up && m.holdUp || !up && m.holdDn || leader && m.swallow; held {
			k.held.Add(1)
			select {
			case <-changed:
				k.held.Add(-1)
			case <-c.closed:
				k.held.Add(-1)
				return net.ErrClosed
			}
			if m.lose {
				return errLost
			}
			continue
		}
		wait := m.delay
		if m.rate > 0 {
			wait += time.Duration(n) * time.Second / time.Duration(m.rate)
		}
		if wait == 0 {
			return nil
		}
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
		case <-changed: // the new mode may be faster
		case <-c.closed:
			return net.ErrClosed
		}
		return nil
	}
}

func (k *link) current() (mode, <-chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.mode, k.changed
}

func (k *link) set(m mode) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.mode = m
	close(k.changed)
	k.changed = make(chan struct{})
	if m.cut {
		for c := range k.connections {
			c.close()
		}
	}
}

// add returns false when the link was cut meanwhile.
func (k *link) add(c *connection) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.connections[c] = true
	return !k.mode.cut
}

func (k *link) remove(c *connection) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.connections, c)
}
