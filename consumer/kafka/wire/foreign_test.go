package wire_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/kafka/wire"
)

// TestForeignBootstrap meets servers of other protocols at the broker's address, with and
// without TLS and authentication, by requests of this package and of kafka-go.
func TestForeignBootstrap(t *testing.T) {
	http1 := httptest.NewServer(http.NotFoundHandler())
	defer http1.Close()
	https := httptest.NewTLSServer(http.NotFoundHandler())
	defer https.Close()
	secure := func() (*tls.Config, error) { return &tls.Config{InsecureSkipVerify: true}, nil }
	user := plain.Mechanism{Username: "u", Password: "p"}
	for name, c := range map[string]struct {
		client *wire.Client
		want   string
	}{
		"HTTP":              {wire.NewClient([]string{http1.Listener.Addr().String()}, nil, nil, nil), http1.Listener.Addr().String() + " answers as an HTTP server, not as Kafka"},
		"HTTP, with SASL":   {wire.NewClient([]string{http1.Listener.Addr().String()}, nil, nil, user), http1.Listener.Addr().String() + " answers as an HTTP server, not as Kafka"},
		"HTTP, with TLS":    {wire.NewClient([]string{http1.Listener.Addr().String()}, nil, secure, nil), http1.Listener.Addr().String() + " answers as an HTTP server, not as Kafka"},
		"HTTPS, with TLS":   {wire.NewClient([]string{https.Listener.Addr().String()}, nil, secure, nil), https.Listener.Addr().String() + " answers as an HTTP server, not as Kafka"},
		"HTTPS, everything": {wire.NewClient([]string{https.Listener.Addr().String()}, nil, secure, user), https.Listener.Addr().String() + " answers as an HTTP server, not as Kafka"},
	} {
		t.Run(name, func(t *testing.T) {
			defer c.client.Close()
			_, asked := c.client.Topics(t.Context())
			_, listed := c.client.Kafka().ListOffsets(t.Context(), &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{"t": {kafka.FirstOffsetOf(0)}}})
			_, described := c.client.Kafka().Metadata(t.Context(), &kafka.MetadataRequest{})
			for call, err := range map[string]error{"Topics": asked, "Metadata": described} {
				if _, ok := errors.AsType[*wire.ForeignError](err); !ok || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s = %v; want %s", call, err, c.want)
				}
			}
			if listed == nil {
				t.Error("ListOffsets = nil; want an error")
			}
		})
	}
}

// Among several brokers, a server of another kind does not stand in the way.
func TestForeignAmongBrokers(t *testing.T) {
	http1 := httptest.NewServer(http.NotFoundHandler())
	defer http1.Close()
	cluster := kafkatest.Fake(t, 1, kfake.SeedTopics(1, "t"))
	for range 8 { // kafka-go shuffles the addresses
		c := wire.NewClient(append(cluster.ListenAddrs(), http1.Listener.Addr().String()), nil, nil, nil)
		if topics, err := c.Topics(t.Context(), "t"); err != nil || len(topics) != 1 {
			t.Errorf("Topics with an HTTP server among the brokers = %d topics, %v; want 1, nil", len(topics), err)
		}
		c.Close()
	}
}

// A broker that tells clients an address of no use to them is named, and so is the source
// of the address.
func TestAdvertisedAddress(t *testing.T) {
	for name, c := range map[string]struct {
		host string
		port int32
		err  error
		want string
	}{
		"no such name":   {"kafka-internal", 9092, &net.DNSError{Err: "no such host", Name: "kafka-internal", IsNotFound: true}, "says that it is at kafka-internal:9092 (advertised.listeners), which does not resolve here: "},
		"not reachable":  {"10.255.0.1", 9092, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("i/o timeout")}, "says that it is at 10.255.0.1:9092 (advertised.listeners), which cannot be reached from here: "},
		"an IPv6 number": {"fd00::1", 9092, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("no route to host")}, "says that it is at [fd00::1]:9092 (advertised.listeners), which cannot be reached from here: "},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := kafkatest.Fake(t, 1, kfake.SeedTopics(1, "t"))
			cluster.ControlKey(int16(kmsg.Metadata), func(req kmsg.Request) (kmsg.Response, error, bool) {
				cluster.KeepControl()
				res := req.ResponseKind().(*kmsg.MetadataResponse)
				broker := kmsg.NewMetadataResponseBroker()
				broker.NodeID, broker.Host, broker.Port = 3, c.host, c.port
				res.Brokers = append(res.Brokers, broker)
				part := kmsg.NewMetadataResponseTopicPartition()
				part.Leader, part.Replicas, part.ISR = 3, []int32{3}, []int32{3}
				topic, topicName := kmsg.NewMetadataResponseTopic(), "t"
				topic.Topic, topic.Partitions = &topicName, append(topic.Partitions, part)
				res.Topics = append(res.Topics, topic)
				return res, nil, true
			})
			client := wire.NewClient(cluster.ListenAddrs(), func(ctx context.Context, network, address string) (net.Conn, error) {
				if address == net.JoinHostPort(c.host, "9092") {
					return nil, c.err
				}
				return new(net.Dialer).DialContext(ctx, network, address)
			}, nil, nil)
			defer client.Close()
			client.RequestTimeout = 2 * time.Second
			if _, err := client.Topics(t.Context(), "t"); err != nil {
				t.Fatal(err)
			}
			err := client.Fetch(t.Context(), wire.FetchRequest{Topic: "t"}, new(wire.Fetched))
			if _, ok := errors.AsType[*wire.AdvertisedError](err); !ok || !strings.Contains(err.Error(), "broker 3 "+c.want) {
				t.Errorf("Fetch = %v; want broker 3 %s", err, c.want)
			}
		})
	}
}
