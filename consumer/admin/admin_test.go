package admin

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// serve starts a server on a port of its own; stop ends it and returns Serve's error.
func serve(t *testing.T, ready func() error) (url string, stop func() error) {
	t.Helper()
	return serveWith(t, ready, false)
}

func serveWith(t *testing.T, ready func() error, pprof bool) (url string, stop func() error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m, _, _ := used()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- (&Server{Metrics: m, Ready: ready, Pprof: pprof}).Serve(ctx, l) }()
	var result error
	ended := false
	stop = func() error {
		cancel()
		if !ended {
			select {
			case result = <-done:
				ended = true
			case <-time.After(30 * time.Second):
				t.Fatal("Serve() still runs 30 s after its context ended; want it to return")
			}
		}
		return result
	}
	t.Cleanup(func() { _ = stop() })
	return "http://" + l.Addr().String(), stop
}

// request returns the status, the content type and the body.
func request(t *testing.T, method, url string) (status int, kind, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return res.StatusCode, res.Header.Get("Content-Type"), string(b)
}

func TestServer(t *testing.T) {
	url, _ := serve(t, func() error { return nil })
	for _, c := range []struct {
		method, path string
		status       int
		kind, body   string // prefix, part
	}{
		{"GET", "/livez", 200, "text/plain", "ok\n"},
		{"HEAD", "/livez", 200, "text/plain", ""},
		{"POST", "/livez", 405, "text/plain", "Method Not Allowed"},
		{"GET", "/readyz", 200, "text/plain", "ok\n"},
		{"DELETE", "/readyz", 405, "text/plain", "Method Not Allowed"},
		{"GET", "/metrics", 200, "text/plain; version=0.0.4", `trailhound_build_info{goversion="go1`},
		{"GET", "/metrics", 200, "text/plain", `trailhound_input_records_total{partition="3",topic="cloudtrail"} 1`},
		{"GET", "/metrics", 200, "text/plain", "go_goroutines"},
		{"POST", "/metrics", 405, "text/plain", "Method Not Allowed"},
		{"GET", "/", 200, "text/plain", "/livez /readyz /metrics\n"},
		{"GET", "/nowhere", 404, "text/plain", "404"},
		{"GET", "/debug/pprof/", 404, "text/plain", "404"},
	} {
		status, kind, body := request(t, c.method, url+c.path)
		if status != c.status || !strings.HasPrefix(kind, c.kind) || !strings.Contains(body, c.body) {
			t.Errorf("%s %s = %d %q %.200q; want %d %q… and %q in the body", c.method, c.path, status, kind, body, c.status, c.kind, c.body)
		}
	}
}

// Readiness follows the instance and names the missing part; liveness does not depend on
// it, so that an instance is not killed in a long restore. FAILURES 10.
func TestServerReadiness(t *testing.T) {
	var missing atomic.Pointer[error]
	url, _ := serve(t, func() error {
		if err := missing.Load(); err != nil {
			return *err
		}
		return nil
	})
	for range 2 {
		err := errors.New("shard 3 is not ready yet: its state is being restored")
		missing.Store(&err)
		if status, _, body := request(t, "GET", url+"/readyz"); status != 503 || strings.TrimSpace(body) != err.Error() {
			t.Errorf("GET /readyz = %d %q; want 503 and %q", status, body, err)
		}
		if status, _, _ := request(t, "GET", url+"/livez"); status != 200 {
			t.Errorf("GET /livez = %d while a shard is restored; want 200", status)
		}
		missing.Store(nil)
		if status, _, body := request(t, "GET", url+"/readyz"); status != 200 {
			t.Errorf("GET /readyz = %d %q; want 200", status, body)
		}
	}
}

// The end of the context ends the server, closes the listener and is no error,
// also while a request is under way and when it came before the start.
func TestServerEnds(t *testing.T) {
	t.Run("idle", func(t *testing.T) {
		url, stop := serve(t, func() error { return nil })
		request(t, "GET", url+"/livez")
		if err := stop(); err != nil {
			t.Errorf("Serve() = %v after its context ended; want nil", err)
		}
		if c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://")); err == nil {
			c.Close()
			t.Error("the listener is still open after Serve has returned; want it closed")
		}
	})
	t.Run("busy", func(t *testing.T) {
		asked, answer := make(chan struct{}), make(chan struct{})
		url, stop := serve(t, func() error {
			close(asked)
			<-answer
			return nil
		})
		failed := make(chan error, 1)
		go func() {
			res, err := http.Get(url + "/readyz")
			if err == nil {
				res.Body.Close()
			}
			failed <- err
		}()
		<-asked
		err := stop()
		close(answer)
		if err != nil {
			t.Errorf("Serve() = %v with a request under way; want nil", err)
		}
		if err := <-failed; err == nil {
			t.Error("a request that outlasts the server was answered; want its connection closed")
		}
	})
	t.Run("before the start", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := (&Server{Metrics: NewMetrics("")}).Serve(ctx, l); err != nil {
			t.Errorf("Serve() = %v with a context that had ended; want nil", err)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept() = %v after Serve; want %v", err, net.ErrClosed)
		}
	})
}

// A listener that breaks is an error that names its address.
func TestServerListenerBreaks(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	err = (&Server{Metrics: NewMetrics("")}).Serve(t.Context(), l)
	if err == nil || !strings.Contains(err.Error(), l.Addr().String()) || !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve() = %v on a closed listener; want an error with its address that wraps %v", err, net.ErrClosed)
	}
}

// Profiles tell a lot about a process, and cost it something: they are served only where
// they are switched on.
func TestProfilesOnlyWhenSwitchedOn(t *testing.T) {
	ready := func() error { return nil }
	for on, want := range map[bool]int{false: http.StatusNotFound, true: http.StatusOK} {
		url, _ := serveWith(t, ready, on)
		for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/symbol"} {
			if got, _, _ := request(t, http.MethodGet, url+path); got != want {
				t.Errorf("GET %s with profiles switched on %t = %d; want %d", path, on, got, want)
			}
		}
		// The command line may have a password in it.
		if got, _, _ := request(t, http.MethodGet, url+"/debug/pprof/cmdline"); got != http.StatusNotFound {
			t.Errorf("GET /debug/pprof/cmdline = %d; want 404", got)
		}
	}
}
