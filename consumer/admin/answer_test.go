package admin

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// ask hands one request to a handler.
func ask(h http.Handler, method, target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, target, nil))
	return w
}

// A hundred readers cost a tenth of a processor, and each gets a complete answer, no older
// than ten times the time that it takes to make one.
func TestAnswersAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const takes = 20 * time.Millisecond
		made := 0
		s := &answers{handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			<-time.After(takes)
			made++
			w.Header().Set("Content-Type", "text/plain")
			fmt.Fprintf(w, "answer %d", made)
		})}
		begun := time.Now()
		var readers sync.WaitGroup
		for range 100 {
			readers.Go(func() {
				for time.Since(begun) < 5*time.Second {
					if w := ask(s, "GET", "/metrics"); w.Code != 200 || !strings.HasPrefix(w.Body.String(), "answer ") || w.Header().Get("Content-Type") != "text/plain" {
						t.Errorf("GET = %d %q %v; want a whole answer", w.Code, w.Body, w.Header())
					}
					<-time.After(10 * time.Millisecond)
				}
			})
		}
		readers.Wait()
		if busy := time.Duration(made) * takes; busy < 250*time.Millisecond || busy > 550*time.Millisecond {
			t.Errorf("100 readers had %d answers made in 5 s, %s; want about half a second of work", made, busy)
		}
		<-time.After(10 * takes)
		if w := ask(s, "HEAD", "/metrics"); w.Body.Len() != 0 || w.Header().Get("Connection") != "close" || w.Header().Get("Content-Length") != fmt.Sprint(len(fmt.Sprintf("answer %d", made))) {
			t.Errorf("HEAD = %q %v; want the length, of a new answer, alone, and the connection closed", w.Body, w.Header())
		}
	})
}

// An answer that cannot be made leaves its readers with a sentence, and the process
// alive. A hung disk is the usual reason.
func TestAnswersThatFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		s := &answers{handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			<-hang
			fmt.Fprint(w, "at last")
		})}
		var late atomic.Int32
		var readers sync.WaitGroup
		for range 100 {
			readers.Go(func() {
				if w := ask(s, "GET", "/status"); w.Code == http.StatusServiceUnavailable && strings.Contains(w.Body.String(), "/status is not made within 5s") {
					late.Add(1)
				}
			})
		}
		readers.Wait()
		if late.Load() != 100 {
			t.Errorf("%d of 100 readers were told that the answer is late; want all", late.Load())
		}
		close(hang)
		if w := ask(s, "GET", "/status"); w.Code != 200 || w.Body.String() != "at last" {
			t.Errorf("GET = %d %q; want the answer that was being made", w.Code, w.Body)
		}
	})
	s := &answers{handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "half")
		panic("a collector is wrong")
	})}
	if w := ask(s, "GET", "/metrics"); w.Code != http.StatusInternalServerError || strings.TrimSpace(w.Body.String()) != "making this answer panicked: a collector is wrong" {
		t.Errorf("GET = %d %q of a handler that panics; want 500 and the panic", w.Code, w.Body)
	}
}

// Profiles are made one at a time, for a minute at the most.
func TestOneProfile(t *testing.T) {
	begun, end := make(chan struct{}), make(chan struct{})
	one := oneProfile()
	slow := one(func(http.ResponseWriter, *http.Request) {
		close(begun)
		<-end
	})
	quick := one(func(http.ResponseWriter, *http.Request) {})
	for query, want := range map[string]int{"": 200, "?seconds=60": 200, "?seconds=0.5": 200, "?seconds=61": 400, "?seconds=-1": 400, "?seconds=NaN": 400, "?seconds=Inf": 400, "?seconds=x": 400} {
		if w := ask(quick, "GET", "/debug/pprof/trace"+query); w.Code != want {
			t.Errorf("GET %s = %d %q; want %d", query, w.Code, w.Body, want)
		}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ask(slow, "GET", "/debug/pprof/profile?seconds=60")
	}()
	<-begun
	if w := ask(quick, "GET", "/debug/pprof/heap"); w.Code != http.StatusServiceUnavailable {
		t.Errorf("GET while a profile is made = %d; want 503", w.Code)
	}
	close(end)
	<-ended
	if w := ask(quick, "GET", "/debug/pprof/heap"); w.Code != 200 {
		t.Errorf("GET after a profile = %d; want 200", w.Code)
	}
}
