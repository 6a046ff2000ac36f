package consumer_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"os"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// sample returns generated CloudTrail events of 1.7 KB, of which a twentieth match.
func sample(b *testing.B) [][]byte {
	b.Helper()
	packed, err := os.ReadFile("../rules/cloudtrail/testdata/bench/events.jsonl.gz")
	if err != nil {
		b.Fatal(err)
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		b.Fatal(err)
	}
	var out [][]byte
	for lines := bufio.NewScanner(r); lines.Scan(); {
		out = append(out, bytes.Clone(lines.Bytes()))
	}
	return out
}

// BenchmarkPipeline measures the whole path, from records in the input topic to committed
// alerts, per event, with TRAILHOUND_TEST_BROKERS on that Kafka; the in-process broker
// costs more than the pipeline itself.
func BenchmarkPipeline(b *testing.B) {
	events := sample(b)
	r := newRig(b, 4, 8)
	size := 0
	batch := make([]*kgo.Record, 0, 10_000)
	for i := range b.N {
		value := events[i%len(events)]
		size += len(value)
		batch = append(batch, &kgo.Record{Partition: int32(i % 4), Value: value})
		if len(batch) == cap(batch) || i == b.N-1 {
			r.send(batch...)
			batch = batch[:0]
		}
	}
	b.SetBytes(int64(size / b.N))
	b.ReportAllocs()
	b.ResetTimer()
	r.start("only", disk(), nil)
	r.drain()
}
