package replay_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go/compress"

	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/kafka/wire"
	"trailhound/consumer/replay"
)

// All partitions have a record at hand at the same time, and none may keep a large batch open for it. The order is that of
// the timestamps. Batches that take turns in the process's memory are complete: those read in pieces, and those with a
// record larger than a partition's share of the memory. A record larger than wire.MostUnpacked is left out.
func TestReaderOfLargeBatches(t *testing.T) {
	const partitions, batches, each = 5, 3, 24
	brokers := kafkatest.Brokers(t)
	name := kafkatest.Topic(t, brokers, partitions, nil)
	c := client(t, brokers)
	c.Memory = wire.NewMemory(16<<20, 0)
	type record struct {
		time int64
		line string
	}
	var want []record
	for p := range int32(partitions) {
		offset := 0
		for b := range batches {
			values := wire.Batch{Codec: []compress.Compression{compress.Zstd, compress.Gzip, compress.Lz4, compress.Snappy, compress.Zstd}[p]}
			for i := range each {
				size := 60_000
				if i == 7 {
					size = 1_500_000
				}
				value := []byte(strings.Repeat(fmt.Sprint(p, b, i, " "), size/8))
				at := int64(1000*(b*each+i)) + int64(p)
				values.Append(at, nil, value)
				want = append(want, record{at, fmt.Sprintf("%d %s %d %d %d %s", at, name, p, offset, len(value), brief(value))})
				offset++
			}
			if b == 1 {
				values.Append(0, nil, make([]byte, 3<<20))
				offset++
			}
			encoded, err := values.Encode(nil, wire.NoProducer)
			if err != nil {
				t.Fatal(err)
			}
			parts := []wire.Part{{Topic: name, Partition: p, Batch: encoded}}
			if err := c.Produce(t.Context(), "", 10*time.Second, parts); err != nil || parts[0].Err != nil {
				t.Fatal(err, parts[0].Err)
			}
		}
	}
	slices.SortFunc(want, func(a, b record) int { return int(a.time - b.time) })
	got, err := read(t.Context(), &replay.Reader{Client: c, Ranges: all(t, c, name), Log: zerolog.Nop()})
	if err != nil || len(got) != len(want) {
		t.Fatalf("Run = %v with %d records; want %d", err, len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i].line {
			t.Fatalf("record %d = %s; want %s", i, got[i], want[i].line)
		}
	}
}
