package consumer_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"trailhound/consumer"
	"trailhound/consumer/internal/kafkatest"
	"trailhound/rules"
)

// One event of an absurd time made all later ones too late, for decades and even on a new
// disk, and only another app was a way out.
func TestRewindTakesAnAbsurdTimeBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, 2)
	in := r.start("only", disk(), func(s *consumer.Service) {
		s.Engine = engine(t, func(l *rules.Limits) { l.MaxAhead, l.MaxLateness = 0, 168*time.Hour })
	})
	sent := 0
	send := func(ip, at string) {
		sent++
		r.send(&kgo.Record{Value: []byte(assume(fmt.Sprint("e", sent), "arn:r", ip, at))})
	}
	send("192.0.2.1", noon)
	send("192.0.2.2", noon) // an alert
	send("192.0.2.1", "2099-01-01T00:00:00Z")
	send("192.0.2.3", noon) // too late by the event before
	r.settle()              // a mark on its way would bring the absurd time behind the instruction
	r.wantAlerts([]string{"assume_role_unique_ip e2"})
	to, err := time.Parse(time.RFC3339, noon)
	if err != nil {
		t.Fatal(err)
	}
	if err := consumer.Rewind(t.Context(), r.client, r.app, []int{7}, to, 10*time.Second); err == nil {
		t.Error("Rewind(shard 7 of 2) = nil; want an error that names it")
	}
	if err := consumer.Rewind(t.Context(), r.client, r.app, nil, to, 10*time.Second); err != nil {
		t.Fatalf("Rewind() = %v; want nil", err)
	}
	send("192.0.2.4", noon)
	r.settle()
	in.shutdown()
	r.start("only", disk(), func(s *consumer.Service) { // from the changelog alone
		s.Engine = engine(t, func(l *rules.Limits) { l.MaxAhead, l.MaxLateness = 0, 168*time.Hour })
	})
	send("192.0.2.5", noon)
	r.drain()
	// Values that the absurd time has swept do not come back, so alerts are no evidence.
	letters := kafkatest.ReadCommitted(t, r.brokers, r.app.DeadLetter)
	if len(letters) != 1 || header(letters[0], "source_offset") != "3" {
		t.Errorf("%d dead letters; want one, of the event before the rewind", len(letters))
	}
}
