package consumer_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"trailhound/consumer/internal/kafkatest"
)

// An instance took a connection for each input partition, and as many again while it opened
// them: with 1,000 partitions it ran out of its 1,024 files and ended.
func TestServiceConnections(t *testing.T) {
	t.Parallel()
	const partitions, shards = 160, 4
	r := newRigOn(t, kafkatest.Fake(t, 1).ListenAddrs(), partitions, shards)
	in := r.start("only", disk(), nil)
	var records []*kgo.Record
	for i := range 10 * partitions {
		a := attempt{id: fmt.Sprint("e", i), who: fmt.Sprint("arn:u", i%partitions), ip: "192.0.2.1", at: time.Date(2026, 1, 1, 0, 0, i/partitions, 0, time.UTC)}
		records = append(records, &kgo.Record{Partition: int32(i % partitions), Value: a.json()})
	}
	r.send(records...)
	r.drain()
	if n := len(r.alerts()); n != partitions {
		t.Errorf("%d alerts of ten denials in each of %d partitions; want one each", n, partitions)
	}
	in.net.mu.Lock()
	defer in.net.mu.Unlock()
	if n := len(in.net.conns); n > 120 {
		t.Errorf("the instance has made %d connections for %d input partitions and %d shards; want 120 at most", n, partitions, shards)
	}
}
