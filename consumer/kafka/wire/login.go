package wire

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/sasl"

	"trailhound/consumer/kafka/internal/primitive"
)

const (
	// loginTimeout bounds the handshakes of one connection, TLS and SASL, once the
	// TCP connection stands.
	loginTimeout = 8 * time.Second

	// refusedLeast and refusedMost bound the pause, doubled each time, in which no
	// connection to a broker that has refused this client is tried: refused logins cost the
	// broker more than requests, and an account can be locked for them.
	refusedLeast = 500 * time.Millisecond
	refusedMost  = 10 * time.Second

	// leastSession is the age from which a broker lets a session authenticate anew
	// (KIP-368); before that, it closes the connection.
	leastSession = 1100 * time.Millisecond
)

// dialer makes connections that are ready for requests: encrypted and authenticated. It
// does so in place of kafka-go's Transport, which waits for ever for a broker that falls
// silent during SASL, drops the broker's reason for a refusal, tries again as often as it
// is asked to, and does not know that a session can end (KIP-368): brokers with
// connections.max.reauth.ms would cut it in the middle of its requests.
type dialer struct {
	client    *Client
	dial      func(ctx context.Context, network, address string) (net.Conn, error)
	tls       func() (*tls.Config, error) // nil: no TLS
	mechanism sasl.Mechanism              // nil: no authentication

	mu       sync.Mutex
	refusals map[string]*refusal // by address
}

// refusal is the state of a broker that has refused this client.
type refusal struct {
	err   error
	until time.Time
	tried bool // a login is under way, to see whether the refusal stands
	pause Backoff
}

// connect dials one broker.
func (d *dialer) connect(ctx context.Context, network, address string) (net.Conn, error) {
	if d.tls == nil && d.mechanism == nil {
		return d.plain(ctx, network, address)
	}
	if err := d.admit(address); err != nil {
		return nil, err
	}
	conn, asked, err := d.open(ctx, network, address)
	if asked {
		d.settle(address, err)
	} else {
		d.leave(address)
	}
	return conn, err
}

// plain makes a connection without TLS and authentication. A server that has not answered
// yet as a Kafka broker is asked for its versions first: kafka-go tries the next bootstrap
// address only if this one cannot be dialled.
func (d *dialer) plain(ctx context.Context, network, address string) (net.Conn, error) {
	raw, err := d.reach(ctx, network, address)
	if err != nil {
		return nil, err
	}
	conn := newFramed(raw, address)
	if d.client.knowsVersions(conn.RemoteAddr().String()) {
		return conn, nil
	}
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	release := cutOff(ctx, conn)
	err = d.client.greet(conn, address)
	if cut := release(); cut {
		err = cmp.Or(ctx.Err(), err)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// reach dials an address.
func (d *dialer) reach(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := d.dial(ctx, network, address)
	if err != nil {
		return nil, d.client.unreached(address, err)
	}
	d.client.noteReached(address)
	return conn, nil
}

// greet asks a broker for its API versions, and remembers them.
func (c *Client) greet(conn net.Conn, address string) error {
	speaks, err := c.askVersions(conn)
	if _, foreign := errors.AsType[*ForeignError](err); foreign {
		return err
	}
	if err != nil {
		return fmt.Errorf("ask broker %s for its API versions: %w", address, err)
	}
	c.rememberVersions(conn.RemoteAddr().String(), speaks)
	return nil
}

// admit returns the refusal for which no login may begin at the broker for now; nil: one
// may begin, and must end with settle or leave. A broker that has refused this client is
// tried by one login at a time: else all waiting logins would come at once at the end of
// each pause.
func (d *dialer) admit(address string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.refusals[address]
	if r == nil {
		return nil
	}
	if r.tried || time.Now().Before(r.until) {
		return r.err
	}
	r.tried = true
	return nil
}

// settle records the outcome of a login: success or the broker's refusal.
func (d *dialer) settle(address string, refused error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if refused == nil {
		delete(d.refusals, address)
		return
	}
	if d.refusals == nil {
		d.refusals = make(map[string]*refusal)
	}
	r := d.refusals[address]
	if r == nil {
		r = &refusal{pause: Backoff{Least: refusedLeast, Most: refusedMost}}
		d.refusals[address] = r
	}
	r.err, r.tried = refused, false
	if now := time.Now(); now.After(r.until) { // else it is one more connection of those that were refused together
		r.until = now.Add(r.pause.Next())
	}
}

// leave ends a login without an outcome: the refusal on record stays.
func (d *dialer) leave(address string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r := d.refusals[address]; r != nil {
		r.tried = false
	}
}

// open makes a connection. asked is false if the caller has left, or there was no
// connection for a login.
func (d *dialer) open(ctx context.Context, network, address string) (ready net.Conn, asked bool, err error) {
	l := login{dialer: d, broker: address}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, false, err
	}
	l.at.Host = host
	l.at.Port, _ = strconv.Atoi(port) // no mechanism looks at the port
	// Credentials are fetched first: without them the broker need not be troubled.
	config, err := l.prepare(ctx)
	if err != nil {
		return nil, ctx.Err() == nil, err
	}
	conn, err := d.reach(ctx, network, address)
	if err != nil {
		return nil, false, err
	}
	if config != nil {
		conn = tls.Client(conn, config)
	}
	limited, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	if ready, err = l.run(limited, conn); err != nil {
		conn.Close()
		return nil, ctx.Err() == nil, err
	}
	return ready, true, nil
}

// login is one authentication of one connection.
type login struct {
	*dialer
	broker string
	at     sasl.Metadata
	state  sasl.StateMachine
	first  []byte // to be sent
}

// prepare gets the credentials and the TLS configuration of a connection; nil: no TLS.
func (l *login) prepare(ctx context.Context) (*tls.Config, error) {
	if err := l.begin(ctx); err != nil || l.tls == nil {
		return nil, err
	}
	config, err := l.tls()
	if err != nil {
		return nil, &CredentialError{err}
	}
	if config.ServerName == "" {
		config = config.Clone()
		config.ServerName = l.at.Host
	}
	return config, nil
}

// begin gets the mechanism's credential and first message.
func (l *login) begin(ctx context.Context) (err error) {
	if l.mechanism == nil {
		return nil
	}
	if l.state, l.first, err = l.mechanism.Start(sasl.WithMetadata(ctx, &l.at)); err != nil {
		return &CredentialError{err}
	}
	return nil
}

// run takes a connection through its handshakes.
func (l *login) run(ctx context.Context, conn net.Conn) (net.Conn, error) {
	whole := newFramed(conn, l.broker)
	ready, s := net.Conn(whole), &session{Conn: whole, login: *l}
	release := cutOff(ctx, whole)
	err := l.handshakes(ctx, whole)
	if err == nil && l.mechanism != nil {
		err, ready = s.authenticate(ctx), s
	}
	if cut := release(); cut && err == nil {
		err = ctx.Err()
	}
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = fmt.Errorf("broker %s falls silent in the middle of a login: %w", l.broker, context.DeadlineExceeded)
	}
	return ready, err
}

// handshakes ends with the answer to a first request: with TLS 1.3, a broker that refuses
// our certificate says so no sooner.
func (l *login) handshakes(ctx context.Context, conn *framed) error {
	if c, ok := conn.Conn.(*tls.Conn); ok {
		if err := c.HandshakeContext(ctx); err != nil {
			return fmt.Errorf("TLS with broker %s: %w", l.broker, foreignTLS(l.broker, err))
		}
	}
	return l.client.greet(conn, l.broker)
}

// authenticate speaks SASL and returns the lifetime of the session; 0: for ever.
func (l *login) authenticate(ctx context.Context, conn net.Conn) (lifetime time.Duration, err error) {
	name := l.mechanism.Name()
	refuse := func(why error) error {
		return &AuthenticationError{Broker: l.broker, Mechanism: name, Err: why}
	}
	r, err := l.ask(conn, protocol.SaslHandshake, 1, appendString(nil, name))
	if err != nil {
		return 0, fmt.Errorf("authentication by %s at broker %s: %w", name, l.broker, err)
	}
	code, offered := r.Int16(), make([]string, r.Array(2))
	for i := range offered {
		offered[i] = r.Text()
	}
	switch {
	case r.Bad:
		return 0, fmt.Errorf("authentication by %s at broker %s: %w", name, l.broker, errMalformed)
	case kafka.Error(code) == kafka.UnsupportedSASLMechanism:
		slices.Sort(offered)
		return 0, &AuthenticationError{Broker: l.broker, Mechanism: name, Offered: offered, Err: codeError(code)}
	case code != 0:
		return 0, refuse(codeError(code))
	}
	for message := l.first; ; {
		code, text, challenge, lasts, err := l.exchange(conn, message)
		if err != nil {
			return 0, fmt.Errorf("authentication by %s at broker %s: %w", name, l.broker, err)
		}
		if code != 0 {
			if text == "" {
				return 0, refuse(codeError(code))
			}
			return 0, refuse(fmt.Errorf("%s (%w)", text, codeError(code)))
		}
		var done bool
		if done, message, err = l.state.Next(ctx, challenge); err != nil {
			return 0, refuse(fmt.Errorf("%w (%w)", err, &CodeError{kafka.SASLAuthenticationFailed}))
		}
		if done {
			return time.Duration(lasts) * time.Millisecond, nil
		}
	}
}

// exchange sends one message of the mechanism and returns the broker's.
func (l *login) exchange(conn net.Conn, message []byte) (code int16, text string, challenge []byte, lifetime int64, err error) {
	r, err := l.ask(conn, protocol.SaslAuthenticate, 1, appendBytes(nil, message))
	if err != nil {
		return 0, "", nil, 0, err
	}
	code, text, challenge, lifetime = r.Int16(), r.Text(), r.Bytes(), r.Int64()
	if r.Bad {
		err = errMalformed
	}
	return code, text, challenge, lifetime, err
}

// ask sends one request, in a version that every broker of Kafka 2.2 or newer has.
func (l *login) ask(conn net.Conn, key protocol.ApiKey, version int16, body []byte) (primitive.Reader, error) {
	id := l.client.correlation.Add(1)
	frame := append(appendHeader(nil, int16(key), version, id, l.client.Transport.ClientID), body...)
	if err := writeFrame(conn, frame); err != nil {
		return primitive.Reader{}, err
	}
	var buffer []byte
	answer, err := receive(conn, &buffer, id)
	return primitive.Reader{Rest: answer}, err
}

// rememberVersions stores a broker's versions, so that our first request on the connection
// need not ask for them.
func (c *Client) rememberVersions(remote string, speaks apiVersions) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.versions == nil {
		c.versions = make(map[string]apiVersions)
	}
	c.versions[remote] = speaks
}
