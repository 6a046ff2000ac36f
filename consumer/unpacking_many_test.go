package consumer_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"

	"trailhound/consumer"
	"trailhound/consumer/wire"
)

// A tenth of many partitions, whose fetches share requests, hold a record that is unpacked with
// the turn and is larger than a fetch. While routers wait for one another, the answers to their
// feeds are read all the same: no leader is told to be silent, and all of it takes a few round
// trips. The time is that of the bubble, in which the processor's is none.
func TestWaitingForMemoryDoesNotHoldUpFetches(t *testing.T) {
	const partitions = 200
	inBubble(t, partitions, 2, func(w *bubble) {
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		for range 30 {
			if _, err := z.Write(make([]byte, 1<<20)); err != nil {
				w.Fatal(err)
			}
		}
		if err := z.Close(); err != nil {
			w.Fatal(err)
		}
		bomb := bytes.Repeat(packed.Bytes(), 500_000/packed.Len())
		var all []*kgo.Record
		for p := range int32(partitions) {
			put := func(value []byte) {
				all = append(all, &kgo.Record{Topic: "input", Partition: p, Value: value})
			}
			put([]byte(assume(fmt.Sprint(p), fmt.Sprint("arn:", p), "192.0.2.1", noon)))
			if p%10 == 3 {
				put(bomb)
			}
			put([]byte(assume(fmt.Sprint(p, "-"), fmt.Sprint("arn:", p), "192.0.2.2", noon)))
		}
		if err := w.produce.ProduceSync(w.Context(), all...).FirstErr(); err != nil {
			w.Fatal(err)
		}
		log := &logged{}
		w.change = func(s *consumer.Service) {
			s.Client.Memory, s.MaxDrift, s.Log = wire.NewMemory(32<<20, 0), time.Hour, zerolog.New(log)
		}
		began := time.Now()
		w.start("a", disk(), trap{})
		w.drain()
		if took := time.Since(began); took > 10*time.Second {
			w.Errorf("the input is evaluated after %s; want some seconds", took)
		}
		for _, event := range []string{"stalled", "input_left_out", "handed_back"} {
			if log.has(`"event":"` + event + `"`) {
				w.Errorf("the log has %q", event)
			}
		}
		w.collect()
		alerts := 0
		for _, a := range w.got {
			if strings.HasPrefix(a, "assume_role_unique_ip ") {
				alerts++
			}
		}
		if alerts != partitions {
			w.Errorf("%d alerts; want one of each of %d partitions", alerts, partitions)
		}
	})
}
