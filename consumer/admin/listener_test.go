package admin

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

// fakeConn is a connection from an address that notes its end.
type fakeConn struct {
	net.Conn
	from   string
	closed bool
}

func (c *fakeConn) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.from))
}

func (c *fakeConn) Close() error { c.closed = true; return nil }

// The connection that gives way is of the address with the most, idle before busy, the oldest
// first.
func TestConnectionsGiveWay(t *testing.T) {
	const a, b, c = "192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1"
	for name, tt := range map[string]struct {
		from []string // connections, the oldest first
		busy []int    // of them, those that answer a request
		idle []int    // of them, those that have answered one after that
		want int      // of them, the one that is closed
	}{
		"the oldest of one address":                  {[]string{a, a, a}, nil, nil, 0},
		"of the address with the most":               {[]string{b, a, a, c}, nil, nil, 1},
		"the oldest of equals":                       {[]string{b, a, c}, nil, nil, 0},
		"waiting before busy":                        {[]string{a, a, a}, []int{0, 2}, nil, 1},
		"the one that is busy the longest":           {[]string{a, a, a}, []int{2, 0, 1}, nil, 2},
		"the one that has asked last stays":          {[]string{a, a, a}, []int{0}, []int{0}, 1},
		"busy, of the address with the most":         {[]string{b, a, a}, []int{1, 2}, nil, 1},
		"an IPv6 network counts as one":              {[]string{b, "[2001:db8::1]:1", "[2001:db8::2]:1"}, nil, nil, 1},
		"IPv6 networks are apart":                    {[]string{b, "[2001:db8:0:1::1]:1", "[2001:db8:0:2::1]:1"}, nil, nil, 0},
		"an address of IPv4 in IPv6 is one of IPv4":  {[]string{b, "[::ffff:192.0.2.1]:1", a}, nil, nil, 1},
		"a zone is no network":                       {[]string{b, "[fe80::1%eth0]:1", "[fe80::1%eth1]:1"}, nil, nil, 1},
		"a probe among thousands of another address": {append([]string{b}, strings.Split(strings.Repeat(a+" ", 999)+a, " ")...), nil, nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLimitedListener(nil, len(tt.from), zerolog.Nop())
			var conns []*limitedConn
			for _, from := range tt.from {
				conns = append(conns, l.add(&fakeConn{from: from}))
			}
			for _, i := range tt.busy {
				l.changed(conns[i], http.StateActive)
			}
			for _, i := range tt.idle {
				l.changed(conns[i], http.StateIdle)
			}
			added := l.add(&fakeConn{from: "198.51.100.1:1"})
			for i, c := range append(conns, added) {
				if closed := c.Conn.(*fakeConn).closed; closed != (i == tt.want) {
					t.Errorf("connection %d of %.200q is closed: %t; want connection %d closed, and no other", i, tt.from, closed, tt.want)
				}
			}
		})
	}
}

// A closed connection frees its place once, however often its end is reported.
func TestConnectionsLeave(t *testing.T) {
	l := newLimitedListener(nil, 2, zerolog.Nop())
	first := l.add(&fakeConn{from: "192.0.2.1:1"})
	for range 100 {
		c := l.add(&fakeConn{from: "192.0.2.1:1"})
		_, _ = c.Close(), c.Close()
		l.changed(c, http.StateClosed)
	}
	if first.Conn.(*fakeConn).closed || l.count() != 1 || l.held[first.from] != 1 {
		t.Errorf("after 100 connections that were closed, the first is closed: %t, and %d are counted, %d of its address; want it open, and counted alone",
			first.Conn.(*fakeConn).closed, l.count(), l.held[first.from])
	}
}

// poorListener fails so often, and has connections from then on.
type poorListener struct {
	net.Listener
	err    error
	fails  int
	closed atomic.Bool
}

func (l *poorListener) Accept() (net.Conn, error) {
	if l.closed.Load() {
		return nil, net.ErrClosed
	}
	if l.fails--; l.fails >= 0 {
		return nil, l.err
	}
	return &fakeConn{from: "192.0.2.9:1"}, nil
}

func (l *poorListener) Close() error { l.closed.Store(true); return nil }

// Without free file descriptors the server waits, logs that once, and closes connections
// that only wait for requests. net/http writes a line for each try to stderr, which is no JSON.
func TestAcceptWithoutFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		err := &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
		l := newLimitedListener(&poorListener{err: err, fails: 20}, 10, zerolog.New(&log))
		var conns []*limitedConn
		for i := range 10 {
			conns = append(conns, l.add(&fakeConn{from: fmt.Sprintf("192.0.2.%d:1", i)}))
		}
		begun := time.Now()
		if _, err := l.Accept(); err != nil {
			t.Fatalf("Accept() = %v; want the connection that came at last", err)
		}
		if took := time.Since(begun); took < 10*time.Second || took > time.Minute {
			t.Errorf("Accept() took %s for 20 failures; want pauses that grow to a second", took)
		}
		if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), `"event":"http_accept_failed"`) {
			t.Errorf("the log has %q; want one line", &log)
		}
		for i, c := range conns {
			if !c.Conn.(*fakeConn).closed {
				t.Errorf("connection %d is open after 20 failures; want its file given back", i)
			}
		}
	})
}

// The end of the server does not wait for a pause of Accept, and an error that does not
// pass is returned.
func TestAcceptEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimitedListener(&poorListener{err: syscall.EMFILE, fails: 1 << 30}, 1, zerolog.Nop())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = l.Accept()
		}()
		<-time.After(time.Minute)
		begun := time.Now()
		_, _ = l.Close(), l.Close()
		<-ended
		if took := time.Since(begun); took > 0 {
			t.Errorf("Accept() returned %s after Close; want it at once", took)
		}
		for _, err := range []error{net.ErrClosed, io.EOF, syscall.EINVAL} {
			l := newLimitedListener(&poorListener{err: err, fails: 1}, 1, zerolog.Nop())
			if _, got := l.Accept(); !errors.Is(got, err) {
				t.Errorf("Accept() = %v after %v; want that", got, err)
			}
		}
	})
}
