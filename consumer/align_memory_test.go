package consumer_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/compress"

	"trailhound/consumer"
	"trailhound/consumer/kafka/wire"
)

// Partitions that wait for the slowest one release their unpacked batches: its batch is as
// large as theirs, and needs the turn that they had. Each holds one time range after the
// other, all in batches that take the turn.
func TestServiceWaitsWithoutTheTurn(t *testing.T) {
	t.Parallel()
	const partitions, batches, each = 4, 3, 20
	r := newRig(t, partitions, 2)
	r.client.Memory = wire.NewMemory(8<<20, 0)
	start, err := time.Parse(time.RFC3339, noon)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for b := range batches {
		for p := range partitions {
			values := wire.Batch{Codec: compress.Zstd}
			for i := range each {
				at := start.Add(time.Duration((p*batches+b)*each+i) * 20 * time.Minute)
				id := fmt.Sprintf("%d-%d-%d", p, b, i)
				ip := "192.0.2.1"
				if p > 0 {
					ip = fmt.Sprint("198.51.100.", p)
					want = append(want, "assume_role_unique_ip "+id)
				}
				event := assume(id, fmt.Sprintf("arn:%d-%d", b, i), ip, at.Format(time.RFC3339))
				values.Append(at.UnixMilli(), nil, []byte(strings.Replace(event, `{`, `{"pad":"`+strings.Repeat("x", 100_000)+`",`, 1)))
			}
			encoded, err := values.Encode(nil, wire.NoProducer)
			if err != nil {
				t.Fatal(err)
			}
			parts := []wire.Part{{Topic: r.app.Inputs[0], Partition: int32(p), Batch: encoded}}
			if err := r.client.Produce(t.Context(), "", 10*time.Second, parts); err != nil || parts[0].Err != nil {
				t.Fatal(err, parts[0].Err)
			}
		}
	}
	r.start("only", disk(), func(s *consumer.Service) { s.MaxDrift, s.Client.Memory = time.Hour, r.client.Memory })
	r.drain()
	r.wantAlerts(want)
}
