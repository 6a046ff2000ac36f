package wire_test

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/compress"
	"github.com/twmb/franz-go/pkg/kgo"

	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/kafka/wire"
)

var codecs = []compress.Compression{compress.None, compress.Gzip, compress.Snappy, compress.Lz4, compress.Zstd}

func client(t testing.TB, brokers []string) *wire.Client {
	t.Helper()
	c := wire.NewClient(brokers, nil, nil, nil)
	t.Cleanup(c.Close)
	return c
}

// row is a record as a test compares it.
type row struct {
	offset, time int64
	text         string // key, value, headers
}

func rowOf(offset, time int64, key, value []byte, headers ...wire.Header) row {
	if len(value) > 1000 {
		value = fmt.Appendf(nil, "%d bytes, %x", len(value), crc32.ChecksumIEEE(value))
	}
	text := fmt.Sprintf("%q %t %q %t", key, key == nil, value, value == nil)
	for _, h := range headers {
		text += fmt.Sprintf(" %s=%q %t", h.Key, h.Value, h.Value == nil)
	}
	return row{offset, time, text}
}

func rowsOf(all []*kgo.Record) (rows []row) {
	for _, r := range all {
		var headers []wire.Header
		for _, h := range r.Headers {
			headers = append(headers, wire.Header(h))
		}
		rows = append(rows, rowOf(r.Offset, r.Timestamp.UnixMilli(), r.Key, r.Value, headers...))
	}
	return rows
}

// readTo fetches a partition from an offset until the next one to fetch is end.
func readTo(t testing.TB, c *wire.Client, req wire.FetchRequest, end int64) (rows []row) {
	t.Helper()
	ctx := kafkatest.Context(t)
	var f wire.Fetched
	for req.Offset < end {
		if err := c.Fetch(ctx, req, &f); err != nil {
			t.Fatalf("Fetch(%+v) = %v; want records up to offset %d", req, err, end)
		}
		if err := f.Each(func(r *wire.Record) bool {
			rows = append(rows, rowOf(r.Offset, r.Timestamp, r.Key, r.Value, slices.Collect(r.Headers())...))
			return true
		}); err != nil {
			t.Fatalf("Each of Fetch(%+v) = %v", req, err)
		}
		req.Offset = f.Next
	}
	return rows
}

func compare(t *testing.T, what string, got, want []row) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d records; want %d", what, len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("%s: record %d = %+v; want %+v", what, i, got[i], want[i])
		}
	}
}

// samples covers null and empty keys and values, headers, and a value that spans
// blocks of every codec.
func samples() []*kgo.Record {
	at := time.UnixMilli(1_700_000_000_000)
	return []*kgo.Record{
		{Key: nil, Value: []byte("no key"), Timestamp: at},
		{Key: []byte("k"), Value: nil, Timestamp: at.Add(time.Hour)},
		{Key: []byte{}, Value: []byte{}, Timestamp: at.Add(-time.Hour)},
		{Key: []byte("h"), Value: []byte("headers"), Timestamp: at, Headers: []kgo.RecordHeader{
			{Key: "a", Value: []byte("1")}, {Key: "", Value: nil}, {Key: "a", Value: []byte("2")}}},
		{Key: []byte("large"), Value: bytes.Repeat([]byte("0123456789abcdef"), 20_000), Timestamp: at},
		{Key: []byte("last"), Value: []byte("!"), Timestamp: at},
	}
}

func kgoCodec(c compress.Compression) kgo.CompressionCodec {
	return []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()}[c]
}

func TestFetchWhatFranzGoWrote(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, brokers []string) {
		c := client(t, brokers)
		for _, codec := range codecs {
			topic := kafkatest.Topic(t, brokers, 1, nil)
			cl := kafkatest.Client(t, brokers, kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(kgoCodec(codec)))
			for range 20 {
				if err := cl.ProduceSync(t.Context(), samples()...).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
			want := rowsOf(kafkatest.ReadCommitted(t, brokers, topic))
			req := wire.FetchRequest{Topic: topic, MaxWait: time.Second, MaxBytes: 1 << 20}
			compare(t, codec.String(), readTo(t, c, req, int64(len(want))), want)

			req.Offset = 57 // inside a batch
			compare(t, codec.String()+" from 57", readTo(t, c, req, int64(len(want))), want[57:])

			req.Offset, req.MaxBytes = 0, 1 // every batch is larger (KIP-74)
			compare(t, codec.String()+" by the batch", readTo(t, c, req, int64(len(want))), want)
		}
	})
}

func TestProduceForFranzGo(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, brokers []string) {
		c := client(t, brokers)
		for _, codec := range codecs {
			topic := kafkatest.Topic(t, brokers, 3, nil)
			var parts []wire.PartitionBatch
			var want []row
			b := wire.Batch{Codec: codec}
			for p := range int32(3) {
				b.Reset()
				for i, r := range samples() {
					var headers []wire.Header
					for _, h := range r.Headers {
						headers = append(headers, wire.Header(h))
					}
					b.Append(r.Timestamp.UnixMilli(), r.Key, r.Value, headers...)
					want = append(want, rowOf(int64(i), r.Timestamp.UnixMilli(), r.Key, r.Value, headers...))
				}
				encoded, err := b.Encode(nil, wire.NoProducer)
				if err != nil {
					t.Fatal(err)
				}
				parts = append(parts, wire.PartitionBatch{Topic: topic, Partition: 2 - p, Batch: encoded})
			}
			if err := c.Produce(t.Context(), "", 5*time.Second, parts); err != nil {
				t.Fatalf("Produce with %v = %v; want nil", codec, err)
			}
			for _, p := range parts {
				if p.Err != nil || p.BaseOffset != 0 {
					t.Fatalf("Produce with %v: partition %d: Err %v, BaseOffset %d; want nil, 0", codec, p.Partition, p.Err, p.BaseOffset)
				}
			}
			compare(t, codec.String(), rowsOf(kafkatest.ReadCommitted(t, brokers, topic)), want)
		}
	})
}

func TestTopics(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, brokers []string) {
		c := client(t, brokers)
		topic := kafkatest.Topic(t, brokers, 2, nil)
		absent := kafkatest.Name(t)
		got, err := c.Topics(t.Context(), topic, absent)
		if err != nil {
			t.Fatalf("Topics(%q, %q) = %v", topic, absent, err)
		}
		m := got[topic]
		if m.Err != nil || m.ID == [16]byte{} || len(m.Partitions) != 2 || m.Internal {
			t.Errorf("Topics(%q) = %+v; want an id and two partitions", topic, m)
		}
		for _, p := range m.Partitions {
			if p.Err != nil || p.Leader < 0 || len(p.Replicas) == 0 || len(p.ISR) == 0 {
				t.Errorf("Topics(%q): partition %+v; want a leader and replicas", topic, p)
			}
		}
		if err := got[absent].Err; !errors.Is(err, kafka.UnknownTopicOrPartition) {
			t.Errorf("Topics(%q).Err = %v; want %v", absent, err, kafka.UnknownTopicOrPartition)
		}
		all, err := c.Topics(t.Context())
		if err != nil || all[topic].ID != m.ID {
			t.Errorf("Topics() = %+v, %v; want %s with the same id among them", all[topic], err, topic)
		}
	})
}
