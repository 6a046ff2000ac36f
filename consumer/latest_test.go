package consumer_test

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"trailhound/consumer"
)

// A new app that starts at the end does so in all partitions at once, in any order of their
// first readers; and an app that has begun never jumps over a record.
func TestServiceStartLatest(t *testing.T) {
	t.Parallel()
	r := newRig(t, 4, 2)
	send := func(phase string) (ids []string) {
		for p := range int32(4) {
			for i := range 3 {
				id := fmt.Sprintf("%s-%d-%d", phase, p, i)
				r.send(&kgo.Record{Partition: p, Value: []byte(assume(id, fmt.Sprint("arn:role/", p), fmt.Sprintf("192.0.2.%d", i), noon))})
				ids = append(ids, "assume_role_unique_ip "+id)
			}
		}
		return ids
	}
	latest := func(s *consumer.Service) { s.StartLatest = true }
	send("before")
	fs := disk()
	in := r.start("only", fs, latest)
	r.await("the instance to be ready", func() bool { return in.service.Ready() == nil })
	first := send("after")
	r.drain()
	in.shutdown()
	var want []string
	for i, id := range first {
		if i%3 != 0 { // the first address of each role is trusted
			want = append(want, id)
		}
	}
	r.wantAlerts(want)

	// Records written while no instance runs are read later, not jumped over.
	for i, id := range send("later") {
		if i%3 != 0 {
			want = append(want, id)
		}
	}
	r.start("only", fs, latest)
	r.drain()
	r.wantAlerts(want)
}
