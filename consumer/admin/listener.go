package admin

import (
	"cmp"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"
)

// MaxConnections is how many connections a Server holds at a time: each takes an open
// file and some 16 KiB.
const MaxConnections = 128

// The pauses after an Accept that failed for want of files or memory, as net/http has them.
const (
	leastAcceptPause = 5 * time.Millisecond
	mostAcceptPause  = time.Second
)

// limitedListener bounds the number of open connections. A connection beyond the bound is
// accepted all the same, and another one is closed for it: of the address with the most
// connections, the one that has waited for a request the longest. So an address that opens
// thousands takes places from itself alone, and the probe of a kubelet always finds one. A
// listener that waits for a free place, as netutil.LimitListener does, would keep the probe
// out for as long as the others stay.
type limitedListener struct {
	net.Listener
	most   int
	log    zerolog.Logger
	closed chan struct{}
	end    sync.Once

	mu    sync.Mutex
	turn  uint64 // of the last connection that changed between waiting and busy
	conns map[*limitedConn]struct{}
	held  map[netip.Addr]int // connections by address
}

// limitedConn is a connection of a limitedListener; the listener's mu guards turn and busy.
type limitedConn struct {
	net.Conn
	of   *limitedListener
	from netip.Addr
	turn uint64
	busy bool // a request is being answered
}

func newLimitedListener(l net.Listener, most int, log zerolog.Logger) *limitedListener {
	return &limitedListener{
		Listener: l, most: most, log: log, closed: make(chan struct{}),
		conns: make(map[*limitedConn]struct{}), held: make(map[netip.Addr]int),
	}
}

// Accept waits for the next connection. Want of open files or memory is waited out,
// and logged once until a connection comes again.
func (l *limitedListener) Accept() (net.Conn, error) {
	pause := time.Duration(0)
	for {
		conn, err := l.Listener.Accept()
		if err == nil {
			return l.add(conn), nil
		}
		if !passes(err) {
			return nil, err
		}
		if pause == 0 {
			l.log.Error().Str("event", "http_accept_failed").Err(err).Msg("the HTTP server cannot take a connection, and tries again")
		}
		l.makeRoom(1) // its file serves the next one
		pause = min(max(2*pause, leastAcceptPause), mostAcceptPause)
		select {
		case <-l.closed:
		case <-time.After(pause):
		}
	}
}

// passes tells whether a failure to accept goes away by itself.
func passes(err error) bool {
	return slices.ContainsFunc([]error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED},
		func(e error) bool { return errors.Is(err, e) })
}

// Close ends Accept; the connections stay.
func (l *limitedListener) Close() error {
	err := l.Listener.Close()
	l.end.Do(func() { close(l.closed) })
	return err
}

// add counts a connection, and closes another one if there are too many.
func (l *limitedListener) add(conn net.Conn) *limitedConn {
	l.makeRoom(l.count() + 1 - l.most)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn++
	c := &limitedConn{Conn: conn, of: l, from: origin(conn.RemoteAddr()), turn: l.turn}
	l.conns[c] = struct{}{}
	l.held[c.from]++
	return c
}

func (l *limitedListener) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns)
}

// makeRoom closes n connections, or all if there are fewer.
func (l *limitedListener) makeRoom(n int) {
	for ; n > 0; n-- {
		c := l.take()
		if c == nil {
			return
		}
		if tcp, ok := c.Conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // an answer that is not read is not kept by the system either
		}
		_ = c.Conn.Close() // no request waits for its end
	}
}

// take removes the connection that gives way to another one; nil: there is none.
func (l *limitedListener) take() *limitedConn {
	l.mu.Lock()
	defer l.mu.Unlock()
	var first *limitedConn
	for c := range l.conns {
		if first == nil || l.order(c, first) < 0 {
			first = c
		}
	}
	if first != nil {
		l.drop(first)
	}
	return first
}

// order is negative if a gives way before b.
func (l *limitedListener) order(a, b *limitedConn) int {
	busy := func(c *limitedConn) int {
		if c.busy {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(l.held[b.from], l.held[a.from]), busy(a)-busy(b), cmp.Compare(a.turn, b.turn))
}

// drop forgets a connection, if that has not been done. It is called with mu held.
func (l *limitedListener) drop(c *limitedConn) {
	if _, ok := l.conns[c]; !ok {
		return
	}
	delete(l.conns, c)
	if l.held[c.from]--; l.held[c.from] == 0 {
		delete(l.held, c.from)
	}
}

// changed is http.Server.ConnState.
func (l *limitedListener) changed(conn net.Conn, state http.ConnState) {
	c, ok := conn.(*limitedConn)
	if !ok || state != http.StateActive && state != http.StateIdle {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn++
	c.turn, c.busy = l.turn, state == http.StateActive
}

// Close closes the connection, which leaves its place to another one.
func (c *limitedConn) Close() error {
	c.of.mu.Lock()
	c.of.drop(c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// CloseWrite lets net/http end an answer before the request has been read.
func (c *limitedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// origin returns the address that a connection is counted for: of IPv6 its /64 network, as
// a host may use any address in that (RFC 6177).
func origin(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	if ip.Is6() {
		return netip.PrefixFrom(ip, 64).Masked().Addr()
	}
	return ip
}
