package replay_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"

	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/kafka/wire"
	"trailhound/consumer/replay"
	"trailhound/rules/play"
)

// read returns a line for each record of a Reader. Batches are given back at once, so that memory that is used again too
// early shows.
func read(ctx context.Context, r *replay.Reader) (got []string, err error) {
	err = r.Run(ctx, func(b *play.Batch) error {
		size := 0
		for _, rec := range b.Records {
			if len(rec.Value) <= 256<<10 {
				size += len(rec.Value)
			}
			got = append(got, fmt.Sprintf("%d %s %d %d %d %s", rec.Time.UnixMilli(), rec.At.Topic, rec.At.Partition, rec.At.Offset, len(rec.Value), brief(rec.Value)))
		}
		for _, rec := range b.Records {
			clear(rec.Value)
		}
		if size > 256<<10 || len(b.Records) > 4096 {
			return fmt.Errorf("a batch of %d records has %d bytes; want 256 KiB at most, but for large ones", len(b.Records), size)
		}
		b.Done()
		return nil
	})
	return got, err
}

func brief(b []byte) string {
	if b == nil {
		return "null"
	}
	return fmt.Sprintf("%08x", crc32.ChecksumIEEE(b))
}

func all(t *testing.T, c *wire.Client, topics ...string) []replay.Range {
	t.Helper()
	ranges, err := replay.Resolve(t.Context(), c, topics, replay.Bounds{})
	if err != nil {
		t.Fatal(err)
	}
	return ranges
}

// The order is that of a plain model: at each step the head with the least timestamp, of those the least topic and
// partition. Values larger than a batch, null, compressed or written by a transaction make no difference.
func TestReaderMerges(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, brokers []string) {
		names := []string{kafkatest.Topic(t, brokers, 3, nil), kafkatest.Topic(t, brokers, 3, nil)}
		slices.Sort(names)
		random := rand.New(rand.NewPCG(1, 2))
		type log struct {
			topic     string
			partition int32
		}
		logs := map[log][]*kgo.Record{}
		for i := range 3000 {
			of := log{names[i%2], int32(random.IntN(3))}
			value := bytes.Repeat([]byte{byte(i)}, random.IntN(600))
			switch random.IntN(400) {
			case 0:
				value = bytes.Repeat([]byte(fmt.Sprint(i)), 80_000) // more than a batch
			case 1, 2:
				value = nil
			}
			rec := at(of.topic, of.partition, random.IntN(40), "")
			rec.Value = value
			logs[of] = append(logs[of], rec)
		}
		var records []*kgo.Record
		for _, l := range logs {
			records = append(records, l...)
		}
		cl := kafkatest.Client(t, brokers, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchMaxBytes(900_000),
			kgo.TransactionalID(kafkatest.Name(t)), kgo.ProducerBatchCompression(kgo.SnappyCompression()))
		for part := range slices.Chunk(records, 500) { // some of the offsets are those of control records
			if err := cl.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
			if err := cl.ProduceSync(t.Context(), part...).FirstErr(); err != nil {
				t.Fatal(err)
			}
			if err := cl.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
				t.Fatal(err)
			}
		}
		aborted := open(t, brokers, at(names[0], 0, 1, "aborted"))
		if err := aborted.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
			t.Fatal(err)
		}
		var want []string
		for {
			var least *kgo.Record
			for _, l := range logs {
				if len(l) > 0 && (least == nil || before(l[0], least)) {
					least = l[0]
				}
			}
			if least == nil {
				break
			}
			of := log{least.Topic, least.Partition}
			logs[of] = logs[of][1:]
			want = append(want, fmt.Sprintf("%d %s %d %d %d %s", least.Timestamp.UnixMilli(), least.Topic, least.Partition, least.Offset, len(least.Value), brief(least.Value)))
		}
		c := client(t, brokers)
		var advanced int64
		r := &replay.Reader{Client: c, Ranges: all(t, c, names...), Log: zerolog.Nop(), Advance: func(n int64) { advanced += n }}
		for range 2 { // the second time as the first
			got, err := read(t.Context(), r)
			if err != nil || !slices.Equal(got, want) {
				t.Fatalf("Run = %v with %d records; want these %d in this order", err, len(got), len(want))
			}
		}
		var offsets int64
		for _, g := range r.Ranges {
			offsets += g.To - g.From
		}
		if advanced != 2*offsets {
			t.Errorf("Advance was told of %d offsets; want twice the %d of the ranges", advanced, offsets)
		}
	})
}

func before(x, y *kgo.Record) bool {
	if !x.Timestamp.Equal(y.Timestamp) {
		return x.Timestamp.Before(y.Timestamp)
	}
	if x.Topic != y.Topic {
		return x.Topic < y.Topic
	}
	return x.Partition < y.Partition
}

// A range is read to its last offset and no further, also in the middle of a batch.
func TestReaderRange(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, brokers []string) {
		name := kafkatest.Topic(t, brokers, 1, nil)
		var records []*kgo.Record
		for i := range 20 {
			records = append(records, at(name, 0, i, "x"))
		}
		cl := kafkatest.Client(t, brokers, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(time.Second))
		if err := cl.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		c := client(t, brokers)
		for _, bounds := range [][2]int64{{0, 20}, {3, 7}, {19, 20}, {5, 6}} {
			g := all(t, c, name)[0]
			g.From, g.To = bounds[0], bounds[1]
			got, err := read(t.Context(), &replay.Reader{Client: c, Ranges: []replay.Range{g}})
			if err != nil || int64(len(got)) != g.To-g.From || !strings.Contains(got[0], fmt.Sprintf(" 0 %d ", g.From)) {
				t.Errorf("Run of %v = %q, %v; want each of them", bounds, got, err)
			}
		}
	})
}

// spoiler is a connection on which the bytes "spoil" become others.
type spoiler struct{ net.Conn }

func (s spoiler) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	copy(p, bytes.ReplaceAll(p[:n], []byte("spoil"), []byte("SPOIL")))
	return n, err
}

// A damaged batch ends the reading with its offsets and the way out, or is left out when that is accepted.
func TestReaderDamage(t *testing.T) {
	brokers := kafkatest.Fake(t, 1).ListenAddrs()
	name := kafkatest.Topic(t, brokers, 1, nil)
	put(t, brokers, []kgo.Opt{kgo.ProducerBatchCompression(kgo.NoCompression())},
		at(name, 0, 1, "first"), at(name, 0, 2, "spoil"), at(name, 0, 3, "last"))
	c := wire.NewClient(brokers, func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		return spoiler{conn}, err
	}, nil, nil)
	t.Cleanup(c.Close)
	ranges := all(t, c, name)
	got, err := read(t.Context(), &replay.Reader{Client: c, Ranges: ranges})
	var damage *replay.DamageError
	if !errors.As(err, &damage) || !strings.Contains(err.Error(), "partition 0: the record batch at offset 1 ") || !strings.Contains(err.Error(), "without offsets 1 to 1 with --accept-loss") {
		t.Errorf("Run = %q, %v; want a DamageError with the offsets and the way out", got, err)
	}
	var log bytes.Buffer
	var advanced int64
	got, err = read(t.Context(), &replay.Reader{Client: c, Ranges: ranges, AcceptLoss: true, Log: zerolog.New(&log), Advance: func(n int64) { advanced += n }})
	if err != nil || len(got) != 2 || advanced != 3 || !strings.Contains(log.String(), `"from":1,"to":1,`) {
		t.Errorf("Run = %q, %v, with %d offsets and the log %s; want the other two records, and a line about the one", got, err, advanced, &log)
	}
}

// breaker is a connection that breaks when the bytes "spoil" come, or damages them, a few times.
type breaker struct {
	spoiler
	breaks, damages *atomic.Int32 // left
}

func (b breaker) Read(p []byte) (int, error) {
	n, err := b.Conn.Read(p)
	if !bytes.Contains(p[:n], []byte("spoil")) {
		return n, err
	}
	if b.breaks.Add(-1) >= 0 {
		return 0, errors.Join(io.ErrUnexpectedEOF, b.Close())
	}
	if b.damages.Add(-1) >= 0 {
		copy(p, bytes.ReplaceAll(p[:n], []byte("spoil"), []byte("SPOIL")))
	}
	return n, err
}

// Passing errors are fetched again: a connection that breaks, and damage on the way.
func TestReaderRepeats(t *testing.T) {
	brokers := kafkatest.Fake(t, 1).ListenAddrs()
	name := kafkatest.Topic(t, brokers, 1, nil)
	put(t, brokers, []kgo.Opt{kgo.ProducerBatchCompression(kgo.NoCompression())}, at(name, 0, 1, "first"), at(name, 0, 2, "spoil"))
	var breaks, damages atomic.Int32
	breaks.Store(3)
	damages.Store(3)
	c := wire.NewClient(brokers, func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		return breaker{spoiler{conn}, &breaks, &damages}, err
	}, nil, nil)
	t.Cleanup(c.Close)
	var log bytes.Buffer
	got, err := read(t.Context(), &replay.Reader{Client: c, Ranges: all(t, c, name), Log: zerolog.New(&log)})
	if err != nil || len(got) != 2 || breaks.Load() >= 0 || damages.Load() >= 0 {
		t.Errorf("Run = %q, %v; want both records after %d more breaks and %d more damages", got, err, breaks.Load(), damages.Load())
	}
	if n := strings.Count(log.String(), "fetch failed; it is tried again"); n < 3 {
		t.Errorf("the log is %s; want each failure in it", &log)
	}
}

// A batch that was written unreadable is left out even without AcceptLoss, as the service does: else one hostile producer
// could stop every replay.
func TestReaderUnreadable(t *testing.T) {
	brokers := kafkatest.Fake(t, 1).ListenAddrs()
	name := kafkatest.Topic(t, brokers, 1, nil)
	put(t, brokers, nil, at(name, 0, 1, "first"))
	var b wire.Batch
	b.Append(noon.UnixMilli(), nil, []byte("never seen"))
	bad, err := b.Encode(nil, wire.NoProducer)
	if err != nil {
		t.Fatal(err)
	}
	bad[len(bad)-12] = 0x7e // the length of the value
	binary.BigEndian.PutUint32(bad[17:], crc32.Checksum(bad[21:], crc32.MakeTable(crc32.Castagnoli)))
	c := client(t, brokers)
	parts := []wire.Part{{Topic: name, Batch: bad}}
	if err := errors.Join(c.Produce(t.Context(), "", 10*time.Second, parts), parts[0].Err); err != nil {
		t.Fatal(err)
	}
	put(t, brokers, nil, at(name, 0, 3, "last"))
	var log bytes.Buffer
	got, err := read(t.Context(), &replay.Reader{Client: c, Ranges: all(t, c, name), Log: zerolog.New(&log)})
	if err != nil || len(got) != 2 || !strings.Contains(log.String(), `"from":1,"to":1,`) {
		t.Errorf("Run = %q, %v, with the log %s; want the other two records, and a line about the one", got, err, &log)
	}
}

// The records of a resolved range are deleted before they are read, or another topic has the name by then.
func TestReaderGone(t *testing.T) {
	brokers := kafkatest.Brokers(t)
	name := kafkatest.Topic(t, brokers, 1, nil)
	put(t, brokers, nil, at(name, 0, 1, "a"), at(name, 0, 2, "b"))
	c := client(t, brokers)
	ranges := all(t, c, name)
	if err := c.DeleteRecords(t.Context(), name, 0, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := read(t.Context(), &replay.Reader{Client: c, Ranges: ranges}); err == nil || !strings.Contains(err.Error(), "the records were deleted while the range was read") {
		t.Errorf("Run of deleted records = %v; want an error that says so", err)
	}
	ranges[0].From, ranges[0].TopicID = 1, [16]byte{1}
	if _, err := read(t.Context(), &replay.Reader{Client: c, Ranges: ranges}); err == nil || !strings.Contains(err.Error(), "the topic was deleted while it was read") {
		t.Errorf("Run of a topic with another id = %v; want an error that says so", err)
	}
}

// An error of the receiver, and the end of the context, end the reading.
func TestReaderEnds(t *testing.T) {
	brokers := kafkatest.Brokers(t)
	name := kafkatest.Topic(t, brokers, 2, nil)
	put(t, brokers, nil, at(name, 0, 1, "a"), at(name, 1, 2, "b"))
	c := client(t, brokers)
	r := &replay.Reader{Client: c, Ranges: all(t, c, name)}
	full := errors.New("full")
	if err := r.Run(t.Context(), func(*play.Batch) error { return full }); !errors.Is(err, full) {
		t.Errorf("Run = %v; want the receiver's error", err)
	}
	r.Ranges[0].To = 1000 // records that never come
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := read(ctx, r); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run = %v; want the end of its context", err)
	}
	r.Ranges[0].To, r.Ranges[1].To = 0, 0
	if got, err := read(t.Context(), r); err != nil || len(got) > 0 {
		t.Errorf("Run of nothing = %q, %v; want nothing", got, err)
	}
}
