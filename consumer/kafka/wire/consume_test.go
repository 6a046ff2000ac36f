package wire_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/compress"

	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/kafka/wire"
)

// BenchmarkConsume reads a topic of a real broker to its end, by Fetch and by
// kafka-go's Reader.
func BenchmarkConsume(b *testing.B) {
	brokers := kafkatest.Real()
	if brokers == nil {
		b.Skip("no real brokers in " + kafkatest.Env)
	}
	const batches, perBatch = 400, 500
	topic := kafkatest.Topic(b, brokers, 1, nil)
	c := client(b, brokers)
	batch := wire.Batch{Codec: compress.Lz4}
	rng := rand.New(rand.NewPCG(1, 2))
	for range perBatch { // of events' size, and half of each is the same in all
		value := bytes.Repeat([]byte(`"name":"value",`), 56)
		for len(value) < 1700 {
			value = fmt.Appendf(value, "%016x", rng.Uint64())
		}
		batch.Append(1, []byte("key"), value)
	}
	encoded, err := batch.Encode(nil, wire.NoProducer)
	if err != nil {
		b.Fatal(err)
	}
	for range batches {
		parts := []wire.PartitionBatch{{Topic: topic, Batch: encoded}}
		if err := errors.Join(c.Produce(b.Context(), "", 10*time.Second, parts), parts[0].Err); err != nil {
			b.Fatal(err)
		}
	}
	const records = batches * perBatch
	b.Run("Fetch", func(b *testing.B) {
		b.ReportAllocs()
		var f wire.Fetched
		for b.Loop() {
			n := 0
			for at := int64(0); at < records; at = f.Next {
				if err := c.Fetch(b.Context(), wire.FetchRequest{Topic: topic, Offset: at, MaxWait: time.Second}, &f); err != nil {
					b.Fatal(err)
				}
				if err := f.Each(func(*wire.Record) bool { n++; return true }); err != nil {
					b.Fatal(err)
				}
			}
			if n != records {
				b.Fatalf("%d records; want %d", n, records)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*records), "ns/record")
	})
	b.Run("Reader", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r := kafka.NewReader(kafka.ReaderConfig{Brokers: brokers, Topic: topic, MaxBytes: 1 << 20, MaxWait: time.Second})
			for range records {
				if _, err := r.ReadMessage(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer() // Close waits for the end of a long poll
			if err := r.Close(); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*records), "ns/record")
	})
}
