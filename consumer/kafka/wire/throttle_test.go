package wire_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"trailhound/consumer/kafka/wire"
)

// A broker answers at once when its quota is used up, with the time to wait and nothing
// else (KIP-219). The client took that for a malformed answer and was out of work for as
// long as the quota held.
func TestThrottledAnswersAreWaitedFor(t *testing.T) {
	const wait = 40 * time.Second // longer than a request may take
	for name, c := range map[string]struct {
		key  kmsg.Key
		stub func(kmsg.Request) kmsg.Response
		ask  func(t *testing.T, c *wire.Client) (found int)
	}{
		"fetch": {kmsg.Fetch, func(req kmsg.Request) kmsg.Response {
			res := req.ResponseKind().(*kmsg.FetchResponse)
			res.ThrottleMillis = int32(wait.Milliseconds())
			return res
		}, func(t *testing.T, c *wire.Client) int {
			var f wire.Fetched
			err := c.Fetch(t.Context(), wire.FetchRequest{Topic: "t"}, &f)
			if err != nil {
				t.Errorf("Fetch of a throttled client = %v; want nil", err)
				return 0
			}
			if f.HighWatermark != 1 {
				t.Errorf("Fetch of a throttled client says that the partition ends at %d; want 1", f.HighWatermark)
			}
			return int(f.Next)
		}},
		"metadata": {kmsg.Metadata, func(req kmsg.Request) kmsg.Response {
			res := req.ResponseKind().(*kmsg.MetadataResponse)
			res.ThrottleMillis = int32(wait.Milliseconds())
			return res
		}, func(t *testing.T, c *wire.Client) int {
			topics, err := c.Topics(t.Context(), "t")
			if err != nil {
				t.Errorf("Topics of a throttled client = %v; want nil", err)
			}
			return len(topics)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 1, func(t *testing.T, cluster *kfake.Cluster, client *wire.Client) {
				b := wire.Batch{}
				b.Append(1, nil, []byte("value"))
				encoded, err := b.Encode(nil, wire.NoProducer)
				if err != nil {
					t.Fatal(err)
				}
				if err := client.Produce(t.Context(), "", time.Second, []wire.PartitionBatch{{Topic: "t", Batch: encoded}}); err != nil {
					t.Fatal(err)
				}
				refused := 0
				cluster.ControlKey(int16(c.key), func(req kmsg.Request) (kmsg.Response, error, bool) {
					if m, ok := req.(*kmsg.MetadataRequest); ok && m.Version < 10 || refused == 2 {
						cluster.KeepControl() // kafka-go's own question, or the quota has room again
						return nil, nil, false
					}
					refused++
					cluster.KeepControl()
					res := c.stub(req)
					res.SetVersion(req.GetVersion())
					return res, nil, true
				})
				began := time.Now()
				found := c.ask(t, client)
				if took := time.Since(began); found != 1 || refused != 2 || took < 2*wait {
					t.Errorf("found %d after %d throttled answers and %s; want 1 after 2 and at least %s", found, refused, took, 2*wait)
				}
				ctx, cancel := context.WithTimeout(t.Context(), wait/2)
				defer cancel()
				if refused = 0; c.key == kmsg.Fetch {
					if err := client.Fetch(ctx, wire.FetchRequest{Topic: "t"}, new(wire.Fetched)); !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("Fetch of a throttled client whose context has ended = %v; want %v", err, context.DeadlineExceeded)
					}
				}
			})
		})
	}
}
