package consumer_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go/compress"

	"trailhound/consumer"
	"trailhound/consumer/kafka/wire"
)

// logged keeps the text of a log.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write appends a line.
func (l *logged) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *logged) has(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.text.String(), s)
}

// The slowest partition waits for the memory that another reader of the process holds,
// longer than a partition may stand still. While that reader made progress, the others
// waited for 30 s and went on without the partition, and its events were evaluated behind
// theirs: addresses that they had brought were trusted. A reader without progress is
// logged, and the others do go on.
func TestAlignmentAndTheTurn(t *testing.T) {
	const partitions, each, held = 2, 20, 60 * time.Second
	for _, moves := range []bool{true, false} {
		t.Run(fmt.Sprintf("moves=%t", moves), func(t *testing.T) {
			t.Parallel()
			inBubble(t, partitions, 1, func(w *bubble) {
				memory, log := wire.NewMemory(8<<20, 0), &logged{}
				client := w.client(w.network.DialContext)
				defer client.Close()
				start := time.Now().Add(-time.Hour * 48)
				for p := range partitions {
					// The batch of the first partition takes the turn.
					values, padding := wire.Batch{Codec: compress.Gzip}, [partitions]int{100_000, 0}[p]
					for i := range each {
						at := start.Add(time.Duration(p*each+i) * 20 * time.Minute)
						event := assume(fmt.Sprintf("%d-%d", p, i), fmt.Sprint("arn:", i), fmt.Sprint("192.0.2.", p), at.Format(time.RFC3339))
						values.Append(at.UnixMilli(), nil, []byte(strings.Replace(event, `{`, `{"pad":"`+strings.Repeat("x", padding)+`",`, 1)))
					}
					encoded, err := values.Encode(nil, wire.NoProducer)
					if err != nil {
						w.Fatal(err)
					}
					parts := []wire.Part{{Topic: "input", Partition: int32(p), Batch: encoded}}
					if err := client.Produce(w.Context(), "", 10*time.Second, parts); err != nil || parts[0].Err != nil {
						w.Fatal(err, parts[0].Err)
					}
				}
				turn := wire.Turn{Memory: memory}
				turn.Lock()
				w.change = func(s *consumer.Service) {
					s.MaxDrift, s.Client.Memory, s.Log = time.Hour, memory, zerolog.New(log)
				}
				a := w.start("a", disk(), trap{})
				told := false
				for range held / time.Second {
					if elapse(time.Second); moves {
						turn.Beat()
					}
					err := a.service.Ready()
					told = told || err != nil && strings.Contains(err.Error(), "for what another partition of this instance holds, which makes no progress")
				}
				if told == moves {
					w.Errorf("the partition that waits is told of: %t; want %t", told, !moves)
				}
				if left := log.has("input_left_out"); left == moves {
					w.Errorf("the partition that waits is left out: %t; want %t", left, !moves)
				}
				turn.Unlock()
				w.drain()
				w.collect()
				if got := len(w.got); moves && got != each {
					w.Errorf("%d alerts, %q; want one of each address of the second partition", got, w.got)
				}
			})
		})
	}
}
