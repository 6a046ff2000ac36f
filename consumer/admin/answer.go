package admin

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"
)

const (
	answerWithin = 5 * time.Second // a request waits so long for an answer that is being made
	answerRest   = 9               // pause before the next answer, in times that the last one took

	mostProfileSeconds = 60 // of a profile or a trace
)

// answer is one answer of the server, shared by all requests until it is stale.
type answer struct {
	made   chan struct{} // closed when the fields below are set
	status int
	header http.Header
	body   bytes.Buffer
	stale  time.Time
}

// Header is of http.ResponseWriter.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader is of http.ResponseWriter.
func (a *answer) WriteHeader(status int) { a.status = status }

// Write is of http.ResponseWriter.
func (a *answer) Write(p []byte) (int, error) { return a.body.Write(p) }

// answers bounds the cost of a handler that looks at everything: it makes one answer at a
// time and shares it among all requests until it is stale. No number of readers takes more
// than a tenth of a processor, and slow readers have no copies of their own.
type answers struct {
	handler http.Handler // its answer depends on nothing in the request

	mu   sync.Mutex
	last *answer
}

// ServeHTTP is of http.Handler.
func (s *answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := s.current()
	late := time.NewTimer(answerWithin)
	defer late.Stop()
	select {
	case <-a.made:
	case <-r.Context().Done():
		return
	case <-late.C:
		http.Error(w, fmt.Sprintf("the answer to %s is not made within %s: something in this instance stands still", r.URL.Path, answerWithin), http.StatusServiceUnavailable)
		return
	}
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.Header().Set("Connection", "close") // fifty requests sent at once are one answer
	w.Header().Set("Content-Length", strconv.Itoa(a.body.Len()))
	w.WriteHeader(a.status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(a.body.Bytes()) // the reader has gone
	}
}

// current returns the answer that holds now, which may still be in the making.
func (s *answers) current() *answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last != nil {
		select {
		case <-s.last.made:
			if time.Now().Before(s.last.stale) {
				return s.last
			}
		default:
			return s.last
		}
	}
	a := &answer{made: make(chan struct{}), status: http.StatusOK, header: http.Header{}}
	s.last = a
	go s.fill(a)
	return a
}

// fill makes an answer. A handler that panics costs its answer, as it does in net/http.
func (s *answers) fill(a *answer) {
	begun := time.Now()
	defer func() {
		if p := recover(); p != nil {
			a.body.Reset()
			http.Error(a, fmt.Sprintf("making this answer panicked: %v", p), http.StatusInternalServerError)
		}
		now := time.Now()
		a.stale = now.Add(answerRest * now.Sub(begun))
		close(a.made)
	}()
	s.handler.ServeHTTP(a, &http.Request{Method: http.MethodGet, Header: http.Header{}})
}

// oneProfile returns a wrapper for the handlers of net/http/pprof. All that it wraps serve
// one request at a time together, for mostProfileSeconds at the most.
func oneProfile() func(http.HandlerFunc) http.HandlerFunc {
	place := make(chan struct{}, 1)
	return func(profile http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if asked := r.URL.Query().Get("seconds"); asked != "" {
				if seconds, err := strconv.ParseFloat(asked, 64); err != nil || !(seconds >= 0 && seconds <= mostProfileSeconds) {
					http.Error(w, fmt.Sprintf("seconds is %q: want 0 to %d", asked, mostProfileSeconds), http.StatusBadRequest)
					return
				}
			}
			select {
			case place <- struct{}{}:
				defer func() { <-place }()
			default:
				http.Error(w, "another profile is being made; there is one at a time", http.StatusServiceUnavailable)
				return
			}
			// ReadTimeout would end a profile as if its reader had gone; WriteTimeout pprof prolongs itself.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(2 * mostProfileSeconds * time.Second))
			profile(w, r)
		}
	}
}
