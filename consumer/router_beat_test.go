package consumer

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go/compress"

	"trailhound/consumer/admin"
	"trailhound/consumer/kafka/wire"
	"trailhound/rules"
)

// zipped is a gzip file.
func zipped(t *testing.T, b []byte) string {
	t.Helper()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.String()
}

// A large record, a large event, and a large value passed over between them each count as
// progress: a record of tens of MiB takes a second of a busy processor, and 64 of them
// between two beats were taken for a router that stands still.
func TestLargeRecordsAndEventsBeat(t *testing.T) {
	engine, err := rules.NewEngine(nil, rules.Limits{DuplicatesWithin: time.Hour, MaxLateness: time.Hour, MaxAlertBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	padding := bytes.Repeat([]byte("x"), beatBytes)
	event := func(id int, padding []byte) string {
		return fmt.Sprintf(`{"eventID":"%d","eventName":"AssumeRole","eventSource":"sts.amazonaws.com","eventTime":"2026-03-01T12:00:00Z","awsRegion":"eu-west-1","eventVersion":"1.08","pad":"%s"}`, id, padding)
	}
	for name, tt := range map[string]struct {
		value string
		most  int // records
		want  uint64
	}{
		"large records":           {"nothing " + string(padding), 1, 2}, // a beat for the record and one for its error
		"large events":            {`{"Records":[` + event(1, padding) + "," + event(2, padding) + "," + event(3, padding) + `]}`, 1, 4},
		"what is unpacked":        {zipped(t, bytes.Repeat([]byte("\n"), 5<<20+100)), 1, 6}, // all of it blank
		"small ones seldom":       {event(1, nil), beatEvery - 1, 0},
		"small ones all the same": {event(1, nil), beatEvery, 2}, // of records and of events
	} {
		l := &lane{most: 8 << 20, limit: 8 << 20, now: time.Now, bundle: bundle{codec: compress.None}}
		l.init()
		r := &router{
			in: input{topic: "t", topicID: [16]byte{1}}, engine: engine, progress: newProgress(0), marks: newTimeMarks(1), lanes: []*lane{l}, deadLetters: []*lane{l},
			meter: admin.NewMetrics("test").Input("t", 0), log: zerolog.Nop(), mostDead: 1 << 20, ctx: t.Context(), now: alignEpoch.Add(24 * time.Hour),
		}
		r.yield, r.decoder.Progress = r.event, r.beat
		for i := range tt.most {
			if !r.record(&wire.Record{Offset: int64(i), Value: []byte(tt.value), Timestamp: -1}) {
				t.Fatal(r.err)
			}
		}
		if got := r.progress.pulse.done.Load(); got != tt.want {
			t.Errorf("%s: %d beats; want %d", name, got, tt.want)
		}
	}
}
