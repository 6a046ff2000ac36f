package wire

import (
	"context"
	"math/rand/v2"
	"net"
	"time"
)

// session is an authenticated connection. kafka-go's Transport uses it from one goroutine,
// with one request under way at a time.
type session struct {
	net.Conn
	login    login
	renew    time.Time // when to authenticate anew; zero: never
	expires  time.Time // when the broker ends the session
	answered bool      // something was read since the last write: a write begins the next request
}

// Read implements net.Conn.
func (s *session) Read(b []byte) (n int, err error) {
	n, err = s.Conn.Read(b)
	s.answered = s.answered || n > 0
	return n, err
}

// Write implements net.Conn. Before a request it authenticates anew, if it is time.
func (s *session) Write(b []byte) (int, error) {
	if s.answered && !s.renew.IsZero() && !time.Now().Before(s.renew) {
		if err := s.again(); err != nil {
			return 0, &unsentError{err}
		}
	}
	s.answered = false
	return s.Conn.Write(b)
}

// again authenticates anew. The request that waits for this has set the deadline.
func (s *session) again() error {
	ctx, cancel := context.WithTimeout(context.Background(), loginTimeout)
	defer cancel()
	err := s.login.admit(s.login.broker)
	if err == nil {
		if err = s.login.begin(ctx); err != nil {
			s.login.settle(s.login.broker, err)
		}
	}
	if err != nil {
		if time.Now().Before(s.expires) {
			return nil // the session is as good as it was, and the error may pass before its end
		}
		return err
	}
	err = s.authenticate(ctx)
	s.login.settle(s.login.broker, err)
	return err
}

// authenticate speaks SASL on the connection.
func (s *session) authenticate(ctx context.Context) error {
	s.renew = time.Time{}
	begun := time.Now()
	lifetime, err := s.login.authenticate(ctx, s.Conn)
	if err == nil && lifetime > 0 {
		// Java's clients take as much of the lifetime; by chance, so that not all renew at
		// once.
		part := time.Duration(float64(lifetime) * (0.85 + 0.10*rand.Float64()))
		s.renew, s.expires = begun.Add(max(part, leastSession)), begun.Add(lifetime)
	}
	return err
}

// unsentError says that nothing of a request was written.
type unsentError struct{ err error }

func (e *unsentError) Error() string { return e.err.Error() }
func (e *unsentError) Unwrap() error { return e.err }
