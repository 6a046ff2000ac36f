package wire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/createtopics"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

// refreshTimeout bounds how long a failed request is held back for a new layout.
const refreshTimeout = 5 * time.Second

// do sends k, and k.read gets its answer, which the broker may hold back for wait. It fails
// with a *NoAnswerError when k was sent, and with any other error when it was not. When it
// returns, nothing uses k or its buffers any more.
func (c *Client) do(ctx context.Context, k *call, wait time.Duration) error {
	if c.Addr == nil {
		return fmt.Errorf("%s: no broker address is configured", k.request)
	}
	c.under.begin(k, wait)
	defer c.under.end(k)
	limited, cancel := context.WithTimeout(ctx, c.requestTimeout()+wait)
	defer cancel()
	err := c.once(limited, k)
	var nowhere *routeError
	if errors.As(err, &nowhere) {
		// Nothing has been sent: the topic or its leader may be newer than the layout.
		c.Refresh(limited)
		k.state = callWaiting
		err = c.once(limited, k)
	}
	if errors.As(err, &nowhere) {
		return c.why(limited, err)
	}
	if err != nil {
		c.forgetVersions(k.remote)
		c.Refresh(ctx)
		return k.failure(err)
	}
	return nil
}

// failure returns the error of a call that RoundTrip has ended with err and
// without an answer.
func (k *call) failure(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		// The connection's deadline is the context's: name it by the better known name.
		err = fmt.Errorf("%w: %w", cmp.Or(k.ctx.Err(), context.DeadlineExceeded), err)
	}
	if k.sent {
		return &NoAnswerError{Request: k.request, Err: err}
	}
	return fmt.Errorf("%s: not sent: %w", k.request, err)
}

func (c *Client) once(ctx context.Context, k *call) error {
	k.client, k.ctx = c, ctx
	_, err := c.Transport.RoundTrip(ctx, c.Addr, k)
	if k.settle() {
		return nil
	}
	return err
}

// why returns the reason for which there is no layout at all, or err, which says that the
// layout lacks something: the Transport keeps the error of its metadata requests to itself
// unless it is asked for metadata.
func (c *Client) why(ctx context.Context, err error) error {
	if _, reason := c.Transport.RoundTrip(ctx, c.Addr, &metadata.Request{TopicNames: []string{}}); reason != nil {
		return fmt.Errorf("nothing was sent: the cluster's metadata cannot be had: %w", reason)
	}
	return err
}

// Refresh makes the Transport renew its layout of the cluster, and waits for that. Callers
// that come during a renewal share it.
func (c *Client) Refresh(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	c.mu.Lock()
	running := c.refreshing
	if running == nil {
		c.refreshing = make(chan struct{})
	}
	c.mu.Unlock()
	if running != nil {
		select {
		case <-running:
		case <-ctx.Done():
		}
		return
	}
	limited, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	// An error is of no use here: the next request meets its cause.
	_, _ = c.Transport.RoundTrip(limited, c.Addr, refreshMessage{})
	c.mu.Lock()
	close(c.refreshing)
	c.refreshing = nil
	c.mu.Unlock()
}

// refreshMessage makes the Transport ask for the cluster's layout now. kafka-go has
// no call for that, and waiting for MetadataTTL would mean seconds of errors after
// each move of a leader, or a request for all topics of the cluster every few
// hundred milliseconds. But its Transport renews the layout whenever a round trip
// has returned a *createtopics.Response, to learn of the topics just made; so this
// message answers itself with an empty one. Nothing goes over the wire.
type refreshMessage struct{}

func (refreshMessage) ApiKey() protocol.ApiKey { return protocol.CreateTopics }

func (refreshMessage) Required(map[protocol.ApiKey]int16) bool { return true }

func (refreshMessage) RawExchange(io.ReadWriter) (protocol.Message, error) {
	return new(createtopics.Response), nil
}

// leaderOf returns the leader of a partition, or a *routeError.
func leaderOf(layout protocol.Cluster, request, topic string, partition int32) (protocol.Broker, error) {
	fail := func(code kafka.Error, detail string) (protocol.Broker, error) {
		return protocol.Broker{}, &routeError{request, code, detail}
	}
	t, ok := layout.Topics[topic]
	if !ok {
		return fail(kafka.UnknownTopicOrPartition, "the cluster has no topic "+topic+" (or does not show it to this user)")
	}
	p, ok := t.Partitions[partition]
	if !ok {
		return fail(kafka.UnknownTopicOrPartition, fmt.Sprintf("topic %s has no partition %d", topic, partition))
	}
	b, ok := layout.Brokers[p.Leader]
	if !ok {
		return fail(kafka.LeaderNotAvailable, fmt.Sprintf("topic %s partition %d has no leader", topic, partition))
	}
	return b, nil
}

// toLeader routes a call to the leader of a partition.
func (k *call) toLeader(topic string, partition int32) {
	k.route = func(layout protocol.Cluster) (protocol.Broker, error) {
		return leaderOf(layout, k.request, topic, partition)
	}
}

// toBroker routes a call to a broker by its id.
func (k *call) toBroker(id int32) {
	k.route = func(layout protocol.Cluster) (protocol.Broker, error) {
		b, ok := layout.Brokers[id]
		if !ok {
			return b, &routeError{k.request, kafka.BrokerNotAvailable, fmt.Sprintf("the cluster has no broker %d", id)}
		}
		return b, nil
	}
}
