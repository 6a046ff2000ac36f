package wire_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/kafka/wire"
)

func TestAuthentication(t *testing.T) {
	cluster := kafkatest.Fake(t, 1, kfake.EnableSASL(), kfake.Superuser("PLAIN", "user", "secret"), kfake.SeedTopics(1, "t"))
	good := wire.NewClient(cluster.ListenAddrs(), nil, nil, plain.Mechanism{Username: "user", Password: "secret"})
	defer good.Close()
	if err := produce(t, good, "t", 0, "v"); err != nil {
		t.Errorf("Produce with the right password = %v; want nil", err)
	}
	bad := wire.NewClient(cluster.ListenAddrs(), nil, nil, plain.Mechanism{Username: "user", Password: "guess"})
	defer bad.Close()
	// A real broker says SASL_AUTHENTICATION_FAILED; this one closes the connection. Either
	// way nothing has been sent, and the error must tell that.
	_, fetched := fetch(t, bad, "t", 0, 0)
	_, asked := bad.Topics(t.Context())
	for call, err := range map[string]error{"Produce": produce(t, bad, "t", 0, "v"), "Fetch": fetched, "Topics": asked} {
		var unanswered *wire.NoAnswerError
		if err == nil || errors.As(err, &unanswered) || !strings.Contains(err.Error(), "sent") {
			t.Errorf("%s with a wrong password = %v; want an error that says that nothing was sent", call, err)
		}
	}
}

// guarded is a cluster of one broker that asks for a password, in a bubble, with a client
// that counts its dials.
type guarded struct {
	cluster *kfake.Cluster
	client  *wire.Client
	dials   atomic.Int64
	logins  atomic.Int64 // SaslAuthenticate requests that the broker got
	secret  atomic.Value // string: the password that the client shows; "": it cannot be had
}

func newGuarded(t *testing.T, configs map[string]string) *guarded {
	t.Helper()
	var network kfake.VirtualNetwork
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(network.Listen), kfake.SeedTopics(1, "t"),
		kfake.EnableSASL(), kfake.Superuser("PLAIN", "user", "secret"), kfake.BrokerConfigs(configs))
	if err != nil {
		t.Fatal(err)
	}
	g := &guarded{cluster: cluster}
	g.secret.Store("secret")
	cluster.ControlKey(int16(kmsg.SASLAuthenticate), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		g.logins.Add(1)
		if shown := string(req.(*kmsg.SASLAuthenticateRequest).SASLAuthBytes); !strings.HasSuffix(shown, "\x00secret") {
			// As Kafka has it: connection.failed.authentication.delay.ms.
			cluster.SleepControl(func() { wait(100 * time.Millisecond) })
			resp := req.ResponseKind().(*kmsg.SASLAuthenticateResponse)
			message := "Authentication failed: Invalid username or password"
			resp.ErrorCode, resp.ErrorMessage = int16(kafka.SASLAuthenticationFailed), &message
			return resp, nil, true
		}
		return nil, nil, false
	})
	g.client = wire.NewClient(cluster.ListenAddrs(), func(ctx context.Context, n, address string) (net.Conn, error) {
		g.dials.Add(1)
		return network.DialContext(ctx, n, address)
	}, nil, g)
	return g
}

func (g *guarded) close() {
	g.client.Close()
	g.cluster.Close()
}

// Name implements sasl.Mechanism.
func (g *guarded) Name() string { return "PLAIN" }

// Start implements sasl.Mechanism.
func (g *guarded) Start(ctx context.Context) (sasl.StateMachine, []byte, error) {
	secret := g.secret.Load().(string)
	if secret == "" {
		return nil, nil, errors.New("no secret today")
	}
	return plain.Mechanism{Username: "user", Password: secret}.Start(ctx)
}

// every calls f once in a while for a time, as clients at work do.
func every(interval, span time.Duration, f func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for range span / interval {
		<-tick.C
		f()
	}
}

// wait lets the bubble's clock go on.
func wait(d time.Duration) { every(d, d, func() {}) }

// A session that the broker ends after a time is renewed before that, on the same
// connection: no request is lost, none is doubled, and no connection is opened anew.
func TestReauthentication(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T) {
		g := newGuarded(t, map[string]string{"connections.max.reauth.ms": "60000"})
		defer g.close()
		if err := produce(t, g.client, "t", 0, "v"); err != nil {
			t.Fatal(err)
		}
		dials, logins := g.dials.Load(), g.logins.Load()
		every(5*time.Second, time.Hour, func() {
			if err := produce(t, g.client, "t", 0, "v"); err != nil {
				t.Errorf("Produce = %v; want nil", err)
			}
		})
		if more := g.dials.Load() - dials; more > 0 {
			t.Errorf("%d connections were opened in an hour; want none", more)
		}
		// Two connections, that for the layout and that for the leader, every 51 to 57 s.
		if more := g.logins.Load() - logins; more < 2*60 || more > 2*72 {
			t.Errorf("%d authentications in an hour; want 120 to 144", more)
		}
	})
}

// A client that is refused leaves the broker alone for longer and longer, under any load,
// and gets in soon after the secret is right again.
func TestRefusedLogin(t *testing.T) {
	for name, wrong := range map[string]string{"wrong password": "guess", "no password": ""} {
		kafkatest.Bubble(t, func(t *testing.T) {
			g := newGuarded(t, map[string]string{"connections.max.reauth.ms": "10000"})
			defer g.close()
			if err := produce(t, g.client, "t", 0, "v"); err != nil {
				t.Fatal(err)
			}
			g.secret.Store(wrong)
			every(time.Second, 20*time.Second, func() { _ = produce(t, g.client, "t", 0, "v") }) // the sessions end
			dials := g.dials.Load()
			every(50*time.Millisecond, 10*time.Minute, func() {
				err := produce(t, g.client, "t", 0, "v")
				var unanswered *wire.NoAnswerError
				if err == nil || errors.As(err, &unanswered) {
					t.Fatalf("%s: Produce = %v; want an error that nothing was sent", name, err)
				}
			})
			// One every 5 to 10 s.
			if more := g.dials.Load() - dials; more > 10*12 || name == "no password" && more > 0 {
				t.Errorf("%s: %d connections were opened in ten minutes; want 120 at most, and none without a password", name, more)
			}
			g.secret.Store("secret")
			began := time.Now()
			for produce(t, g.client, "t", 0, "v") != nil {
				if time.Since(began) > 30*time.Second {
					t.Fatalf("%s: 30 s after it was put right nothing can be produced", name)
				}
				wait(100 * time.Millisecond)
			}
		})
	}
}

// However many connections wait for a broker that refuses us, each end of a pause brings it
// one login. (They came all at once: an instance with two shards and four partitions asked
// a dozen times in eight seconds, with a broker that takes its time to refuse.)
func TestRefusedLogins(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T) {
		g := newGuarded(t, map[string]string{"connections.max.reauth.ms": "10000"})
		defer g.close()
		var failed atomic.Int64
		ask := func(span time.Duration) {
			var callers sync.WaitGroup
			for range 20 {
				callers.Go(func() {
					for began := time.Now(); time.Since(began) < span; wait(50 * time.Millisecond) {
						if produce(t, g.client, "t", 0, "v") != nil {
							failed.Add(1)
						}
					}
				})
			}
			callers.Wait()
		}
		ask(time.Second)
		if failed.Load() > 0 {
			t.Error("Produce with the right password fails; want nil")
		}
		g.secret.Store("guess")
		ask(20 * time.Second) // the sessions end
		logins := g.logins.Load()
		ask(10 * time.Minute)
		// The longest pause is 10 s, less up to a half by chance.
		if more := g.logins.Load() - logins; more < 10*6-5 || more > 10*12 {
			t.Errorf("the broker refuses %d logins in ten minutes; want 55 to 120", more)
		}
		g.secret.Store("secret")
		began := time.Now()
		for produce(t, g.client, "t", 0, "v") != nil {
			if time.Since(began) > 30*time.Second {
				t.Fatal("30 s after it was put right nothing can be produced")
			}
			wait(100 * time.Millisecond)
		}
	})
}

// The caller reads the broker's words about a refusal.
func TestRefusalInWords(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T) {
		g := newGuarded(t, nil)
		defer g.close()
		g.secret.Store("guess")
		var refused *wire.AuthenticationError
		_, err := g.client.Topics(t.Context())
		if !errors.As(err, &refused) || !errors.Is(err, kafka.SASLAuthenticationFailed) || !strings.Contains(err.Error(), "Invalid username or password") {
			t.Errorf("Topics with a wrong password = %v; want what the broker says", err)
		}
	})
}

// A broker that falls silent in the middle of a login, as one that is stopped does,
// does not keep its callers beyond their time, nor the client for ever.
func TestSilentLogin(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T) {
		g := newGuarded(t, nil)
		defer g.close()
		var silent atomic.Bool
		silent.Store(true)
		end := make(chan struct{})
		g.cluster.ControlKey(int16(kmsg.SASLHandshake), func(kmsg.Request) (kmsg.Response, error, bool) {
			g.cluster.KeepControl()
			if silent.Load() {
				g.cluster.SleepControl(func() { <-end })
			}
			return nil, nil, false
		})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		if _, err := g.client.Topics(ctx); err == nil || time.Since(began) > 5*time.Second {
			t.Errorf("Topics = %v after %s; want an error after 3s", err, time.Since(began))
		}
		silent.Store(false)
		close(end)
		began = time.Now()
		for {
			_, err := g.client.Topics(t.Context())
			if err == nil {
				break
			}
			if time.Since(began) > time.Minute {
				t.Fatalf("a minute after the broker speaks again: Topics = %v", err)
			}
			wait(100 * time.Millisecond)
		}
	})
}
