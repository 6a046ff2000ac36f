package main

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// echo is a server that sends back all that it gets.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c) // the client decides when it ends
				c.Close()
			}()
		}
	}()
	return l.Addr().String()
}

// through returns a proxy before the target, and its address.
func through(t *testing.T, target string) (*proxy, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := newProxy([]net.Listener{l}, []string{target})
	t.Cleanup(p.close)
	return p, l.Addr().String()
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatalf("write %q = %v", text, err)
	}
}

// expect reads exactly the text.
func expect(t *testing.T, c net.Conn, text string) {
	t.Helper()
	buf := make([]byte, len(text))
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.ReadFull(c, buf); err != nil || string(buf) != text {
		t.Fatalf("read = %q, %v; want %q", buf, err, text)
	}
}

// expectSilence reads nothing, though the connection lives.
func expectSilence(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := c.Read(make([]byte, 1)); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read = %d, %v; want nothing, on a connection that lives", n, err)
	}
}

// expectEnd reads the end of the connection.
func expectEnd(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read = %d, %v; want the end of the connection", n, err)
	}
}

// Bytes that a half-open connection holds back come late, in order, in either direction; new connections are accepted.
func TestProxyHalfOpen(t *testing.T) {
	for name, m := range map[string]mode{"up": {holdUp: true}, "down": {holdDn: true}, "both": {holdUp: true, holdDn: true}} {
		t.Run(name, func(t *testing.T) {
			p, address := through(t, echo(t))
			c := dial(t, address)
			send(t, c, "before")
			expect(t, c, "before")
			p.set(m)
			send(t, c, "held")
			fresh := dial(t, address)
			send(t, fresh, "fresh")
			expectSilence(t, c)
			expectSilence(t, fresh)
			p.set(mode{})
			expect(t, c, "held")
			expect(t, fresh, "fresh")
		})
	}
}

// TestProxyDeliversLate: a request still arrives after its sender has given up, so that a
// broker sees it late.
func TestProxyDeliversLate(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p, address := through(t, l.Addr().String())
	p.set(mode{holdUp: true})
	c := dial(t, address)
	broker, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	send(t, c, "late")
	c.Close()
	p.set(mode{})
	expect(t, broker, "late")
	expectEnd(t, broker)
}

// Where bytes are lost, the connection is: no stream goes on with a hole in it. One that lost nothing lives.
func TestProxyLoses(t *testing.T) {
	p, address := through(t, echo(t))
	c, idle := dial(t, address), dial(t, address)
	for _, c := range []net.Conn{c, idle} {
		send(t, c, "before")
		expect(t, c, "before")
	}
	p.set(mode{holdUp: true, lose: true})
	send(t, c, "lost")
	for late := time.After(20 * time.Second); p.links[0].held.Load() == 0; { // a byte that has not reached the proxy is not on its way
		select {
		case <-time.After(time.Millisecond):
		case <-late:
			t.Fatal("the proxy holds nothing back 20 s after a write")
		}
	}
	expectSilence(t, c)
	p.set(mode{})
	expectEnd(t, c)
	send(t, idle, "after")
	expect(t, idle, "after")
}

func TestProxyCut(t *testing.T) {
	p, address := through(t, echo(t))
	c := dial(t, address)
	send(t, c, "before")
	expect(t, c, "before")
	p.set(mode{cut: true})
	expectEnd(t, c)
	if refused, err := net.Dial("tcp", address); err == nil {
		expectEnd(t, refused)
		refused.Close()
	}
	p.set(mode{})
	c = dial(t, address)
	send(t, c, "after")
	expect(t, c, "after")
}

func TestProxySlow(t *testing.T) {
	p, address := through(t, echo(t))
	c := dial(t, address)
	p.set(mode{delay: 50 * time.Millisecond})
	begun := time.Now()
	send(t, c, "slow")
	expect(t, c, "slow")
	if took := time.Since(begun); took < 100*time.Millisecond {
		t.Errorf("there and back = %s; want 50ms each way", took)
	}
}
