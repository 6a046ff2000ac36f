package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"trailhound/consumer/admin"
)

// openFiles is how many files a process has open.
func (p *program) openFiles() int {
	p.Helper()
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.process.Pid))
	if err != nil {
		p.Fatal(err)
	}
	return len(files)
}

// limited starts an instance that may have so many files open.
func (s *site) limited(files int, args ...string) *program {
	s.Helper()
	return s.startUnder([]string{"/bin/sh", "-c", fmt.Sprintf(`ulimit -n %d; exec "$@"`, files), "sh"}, args...)
}

// crowd opens connections from one address, over and over until ctx ends, of all sorts:
// without a request, with one, with half of a header, and with large requests and no
// reading. Each stays open on this side.
func crowd(ctx context.Context, address string, most int, opened *atomic.Int64) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}, Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
	}}
	asks := []string{"", "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", "GET /livez HTTP/1.1\r\nHo", strings.Repeat("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 50)}
	var held []net.Conn
	defer func() {
		for _, c := range held {
			c.Close()
		}
	}()
	for n := 0; ctx.Err() == nil; n++ {
		c, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil {
			continue
		}
		opened.Add(1)
		_, _ = c.Write([]byte(asks[n%len(asks)]))
		if held = append(held, c); len(held) > most {
			held[0].Close()
			held = held[1:]
		}
	}
}

// Without a limit of connections, 1,100 that asked once took the files that the state needed, and ended the instance.
func TestManyConnections(t *testing.T) {
	s := newSite(t, fakeCluster(t).ListenAddrs(), 2)
	p := s.limited(1024, "run", "--set", "http.listen=127.0.0.1:0")
	s.await("the service to be ready", func() bool { code, _ := p.get("/readyz"); return code == http.StatusOK })
	before := p.openFiles()
	ctx, stop := context.WithCancel(t.Context())
	var crowds sync.WaitGroup
	var opened atomic.Int64
	for range 4 {
		crowds.Go(func() { crowd(ctx, strings.TrimPrefix(p.url(), "http://"), 500, &opened) })
	}
	defer crowds.Wait()
	defer stop()
	for n := 0; opened.Load() < int64(sized(2000, 5000)) || n < 5; n++ {
		for i := range 10 { // one more alert
			s.send(int32(i%2), strings.TrimSpace(denial(10*n+i, "alice")))
		}
		wanted := fmt.Sprintf(`trailhound_alerts_total{rule="access_denied"} %d`+"\n", n+1)
		s.await("the next alert, among connections", func() bool { _, metrics := p.get("/metrics"); return strings.Contains(metrics, wanted) })
		for range 10 {
			if code, body := p.get("/readyz"); code != http.StatusOK {
				t.Fatalf("GET /readyz = %d %q among connections of another address; want 200", code, body)
			}
		}
		if files := p.openFiles(); files > before+admin.MaxConnections+50 {
			t.Fatalf("the service has %d files open, %d before the connections came; want %d more at the most", files, before, admin.MaxConnections)
		}
	}
	p.within(150, fmt.Sprintf("an instance among %d connections", opened.Load()))
	if p.over() || p.stderr.has("too many open files") {
		t.Error("the service has run out of open files, or ended; want it at work")
	}
	if p.stderr.has("few_open_files") {
		t.Error("the log warns of 1024 open files; want none for two partitions and eight shards")
	}
	p.logs()
}

// With fewer open files than it may need an instance says so at its start.
func TestFewOpenFiles(t *testing.T) {
	s := newSite(t, fakeCluster(t).ListenAddrs(), 3)
	p := s.limited(256, "run", "--set", "http.listen=127.0.0.1:0")
	s.await("the service to start", func() bool { return p.stderr.has(`"event":"started"`) })
	want := fmt.Sprintf(`"limit":256,"needed":%d,"partitions":3,"shards":8,"event":"few_open_files"`, neededFiles(3, 8))
	if !p.stderr.has(want) {
		t.Errorf("the log lacks %s", want)
	}
	p.logs()
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != exitDone {
		t.Errorf("run = %d; want 0", code)
	}
}
