package consumer_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"trailhound/consumer"
)

// A backlog in partitions that hold one time range after the other is evaluated as it would
// have been live: the first address of each role is in the first partition, and others use the
// roles in the later ones. Read side by side, the later addresses would have been trusted.
func TestServiceBacklogIsEvaluatedInOrderOfTime(t *testing.T) {
	t.Parallel()
	const partitions, each = 4, 60
	r := newRig(t, partitions, 3)
	start, err := time.Parse(time.RFC3339, noon)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for p := range partitions {
		var records []*kgo.Record
		for i := range each {
			at := start.Add(time.Duration(p*each+i) * 20 * time.Minute)
			id := fmt.Sprintf("%d-%d", p, i)
			ip := "192.0.2.1"
			if p > 0 {
				ip = fmt.Sprint("198.51.100.", p)
				want = append(want, "assume_role_unique_ip "+id)
			}
			records = append(records, &kgo.Record{Partition: int32(p), Value: []byte(assume(id, fmt.Sprint("arn:", i), ip, at.Format(time.RFC3339)))})
		}
		r.send(records...)
	}
	aligned := func(s *consumer.Service) { s.MaxDrift = time.Hour }
	for i := range 3 {
		r.start(fmt.Sprint("instance", i), disk(), aligned)
	}
	r.drain()
	r.wantAlerts(want)
	for _, in := range r.started {
		for _, input := range in.service.Status().Inputs {
			if input.Waiting != "" {
				t.Errorf("input %s partition %d at the end of the backlog: %s; want it not to wait", input.Topic, input.Partition, input.Waiting)
			}
		}
	}
}
