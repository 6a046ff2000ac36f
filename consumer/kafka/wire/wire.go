// Package wire is the Kafka wire path that kafka-go lacks: fetching and
// producing record batches without an object per record, and the few requests
// that kafka-go sends to the wrong broker, in too old a version or not at all.
//
// Its types are few: [Client] speaks to a cluster, [Fetcher] reads many partitions of it
// over a few connections, [Fetched] holds the records of one fetch, [Record] is one of
// them, [Batch] is a record batch being written, [Part] is one batch on its way to a
// partition.
//
// Its one guarantee: an error tells the state of the request. A [NoAnswerError] means that
// the request went out without an answer, so that the broker may or may not have acted upon
// it; after any other error it was refused (a kafka.Error says why) or never sent. A
// [CorruptError] names a batch that cannot be read. And when a call returns, nothing
// touches its buffers any more, even when the context ended while the request was on its
// way.
//
// Requests travel over kafka-go's Transport, which dials, authenticates, pools
// connections and knows the cluster's layout; the bytes are our own (see call).
package wire

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
)

const (
	defaultRequestTimeout = 30 * time.Second

	// dialTimeout covers a connection up to its authentication. It is several
	// times addressTimeout because kafka-go tries the bootstrap addresses one
	// after the other under this one limit: a silent one must leave time for
	// the next.
	dialTimeout    = 15 * time.Second
	addressTimeout = 4 * time.Second

	// metadataTTL bounds the age of the cached layout while no request fails; it is also
	// kafka-go's limit for one metadata request. It need not be short: a request that the
	// layout has misled asks for a new one (see Client.Refresh).
	metadataTTL = 5 * time.Second
)

// Client speaks to one Kafka cluster. It is safe for concurrent use; its fields
// are set before the first use and not changed after it.
type Client struct {
	Addr      net.Addr         // bootstrap addresses, as kafka.TCP makes them
	Transport *kafka.Transport // dials, authenticates and pools the connections

	// RequestTimeout is how long a request may wait for its answer, beyond the
	// time that it asks the broker to wait. Zero: 30 s.
	RequestTimeout time.Duration

	// Memory bounds the unpacked records of all clients of the process together. Nil: that
	// of a process without a memory limit.
	Memory *Memory

	correlation atomic.Int32
	under       underWay

	mu           sync.Mutex
	addresses    addresses
	versions     map[string]apiVersions   // by the broker's network address
	coordinators map[coordinatorKey]int32 // broker ids
	refreshing   chan struct{}            // closed when the refresh under way has ended; nil: none is
}

// NewClient returns a client of the cluster that brokers ("host:port", one or more of its
// brokers) belong to. Each attempt to find the cluster tries them in random order until one
// answers. A nil dial is a plain TCP connection, a nil tlsConfig means no TLS, a nil
// mechanism no authentication; both are asked anew for each connection, so that files that
// they read can be replaced. Where the broker limits the life of an authentication, the
// mechanism is asked again on the same connection (KIP-368). No connection is made before
// the first request.
func NewClient(brokers []string, dial func(ctx context.Context, network, address string) (net.Conn, error), tlsConfig func() (*tls.Config, error), mechanism sasl.Mechanism) *Client {
	if dial == nil {
		dial = (&net.Dialer{Timeout: addressTimeout}).DialContext
	}
	c := &Client{Addr: kafka.TCP(brokers...), addresses: addresses{configured: brokers}}
	d := &dialer{client: c, dial: dial, tls: tlsConfig, mechanism: mechanism}
	c.Transport = &kafka.Transport{
		Dial:        d.connect,
		DialTimeout: dialTimeout,
		MetadataTTL: metadataTTL,
		ClientID:    "trailhound",
	}
	return c
}

// Kafka returns a kafka-go client over the same connections, for the requests
// that it serves well.
func (c *Client) Kafka() *kafka.Client {
	return &kafka.Client{Addr: c.Addr, Transport: c.Transport}
}

// Close closes the idle connections, and those in use as soon as their request
// has ended. A request made later opens new ones.
func (c *Client) Close() {
	c.Transport.CloseIdleConnections()
}

func (c *Client) requestTimeout() time.Duration {
	if c.RequestTimeout > 0 {
		return c.RequestTimeout
	}
	return defaultRequestTimeout
}
