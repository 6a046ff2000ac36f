package consumer_test

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"trailhound/consumer"
)

// expire deletes the group's offsets, as Kafka does offsets.retention.minutes after the
// last instance has left.
func (r *rig) expire() {
	r.Helper()
	r.await("the group to be empty and deleted", func() bool {
		req := kmsg.NewPtrDeleteGroupsRequest()
		req.Groups = []string{r.app.ID}
		resp, err := req.RequestWith(r.Context(), r.produce)
		return err == nil && resp.Groups[0].ErrorCode == 0
	})
}

// leaves makes an instance give up its place in the group at the end.
func leaves(s *consumer.Service) { s.LeaveOnStop = true }

// addresses sends assumptions of one role from one new address each, and returns the alerts
// expected; the first address of all is trusted.
func (r *rig) addresses(role string, from, to int) (want []string) {
	r.Helper()
	for i := from; i < to; i++ {
		r.send(&kgo.Record{Value: []byte(assume(fmt.Sprint(i), role, fmt.Sprint("192.0.2.", i), noon))})
		if i > 0 {
			want = append(want, fmt.Sprint("assume_role_unique_ip ", i))
		}
	}
	return want
}

// The position of a partition outlives the group's offsets: they expire after an outage of
// seven days, and the input was then read from its start, with records missing and no word
// of it. PROTOCOL R7.
func TestServiceOffsetsExpired(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		trimmed int64
		lost    []string // words of the sentence; nil: nothing is lost
	}{
		"nothing deleted":           {0, nil},
		"what was read was deleted": {10, nil},
		"one record too much":       {11, []string{"records 10 to 10", "offsets.retention.minutes", "--accept-loss"}},
		"all that came meanwhile":   {15, []string{"records 10 to 14", "offsets.retention.minutes", "--accept-loss"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1, 1)
			fs := disk()
			in := r.start("only", fs, leaves)
			want := r.addresses("arn:r", 0, 10)
			r.settle()
			in.shutdown()
			r.expire()
			later := r.addresses("arn:r", 10, 15)
			if c.trimmed > 0 {
				r.deleteRecords(r.app.Inputs[0], 0, c.trimmed)
			}
			if c.lost != nil {
				r.start("only", fs, leaves).wantStop(append(c.lost, r.app.Inputs[0], "partition 0")...)
				later = later[min(c.trimmed-10, 5):]
			}
			r.start("other", disk(), func(s *consumer.Service) { // positions are not read from the local copy
				leaves(s)
				s.Accept.Loss = c.lost != nil
			})
			r.drain()
			r.wantAlerts(append(want, later...))
		})
	}
}

// A shard that gets no event of a partition is told the offset handed on: it does not make
// the partition's position unknown.
func TestServiceOffsetsExpiredShardWithoutEvents(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, 4)
	fs := disk()
	in := r.start("only", fs, leaves)
	want := r.addresses("arn:r", 0, 10)
	r.settle()
	in.shutdown()
	r.expire()
	r.deleteRecords(r.app.Inputs[0], 0, 10)
	want = append(want, r.addresses("arn:r", 10, 12)...)
	r.start("only", fs, leaves)
	r.drain()
	r.wantAlerts(want)
}

// A new app with a trimmed input has lost nothing: a claim of another instance is no position.
func TestServiceNewAppOnTrimmedInput(t *testing.T) {
	t.Parallel()
	r := newRig(t, 4, 4)
	var want []string
	for p := range int32(4) {
		for i := range 5 {
			id := fmt.Sprintf("%d-%d", p, i)
			r.send(&kgo.Record{Partition: p, Value: []byte(assume(id, fmt.Sprint("arn:", p), fmt.Sprint("192.0.2.", i), noon))})
			if i > 2 {
				want = append(want, "assume_role_unique_ip "+id)
			}
		}
		r.deleteRecords(r.app.Inputs[0], p, 2)
	}
	for i := range 3 {
		r.start(fmt.Sprint("instance", i), disk(), nil)
	}
	r.drain()
	r.wantAlerts(want)
}
