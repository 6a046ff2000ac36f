package replay_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/kafka/wire"
	"trailhound/consumer/replay"
)

// noon is recent: a broker may delete records of long ago while a test runs.
var noon = time.Now().UTC().Add(-time.Hour).Truncate(time.Second)

// at is a record of a partition so many minutes after noon.
func at(topic string, partition int32, minutes int, value string) *kgo.Record {
	return &kgo.Record{Topic: topic, Partition: partition, Timestamp: noon.Add(time.Duration(minutes) * time.Minute), Value: []byte(value)}
}

// put writes records, each in a batch of its own: an index by time leads to batches.
func put(t *testing.T, brokers []string, opts []kgo.Opt, records ...*kgo.Record) {
	t.Helper()
	cl := kafkatest.Client(t, brokers, append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	for _, r := range records {
		if err := cl.ProduceSync(kafkatest.Context(t), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

func client(t *testing.T, brokers []string) *wire.Client {
	c := wire.NewClient(brokers, nil, nil, nil)
	t.Cleanup(c.Close)
	return c
}

// open begins a transaction that holds the record, and leaves it open until the test ends.
func open(t *testing.T, brokers []string, rec *kgo.Record) *kgo.Client {
	t.Helper()
	cl := kafkatest.Client(t, brokers, kgo.TransactionalID(kafkatest.Name(t)), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(kafkatest.Context(t), rec).FirstErr(); err != nil {
		t.Fatal(err)
	}
	return cl
}

func TestResolve(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, brokers []string) {
		name := kafkatest.Topic(t, brokers, 2, nil)
		c := client(t, brokers)
		for m := range 10 { // offsets 0 to 9 of partition 0, a minute each
			put(t, brokers, nil, at(name, 0, m, "x"))
		}
		put(t, brokers, nil, at(name, 1, 5, "y"))
		if err := c.DeleteRecords(t.Context(), name, 0, 2); err != nil {
			t.Fatal(err)
		}
		open(t, brokers, at(name, 0, 11, "not committed"))
		minute := func(m int) time.Time { return noon.Add(time.Duration(m) * time.Minute) }
		for _, c0 := range []struct {
			name    string
			bounds  replay.Bounds
			want    string // ranges of the two partitions
			trimmed string // part of Trimmed of partition 0
		}{
			{"all that can be read", replay.Bounds{}, "2-10 0-1", ""},
			{"by time", replay.Bounds{From: minute(4), To: minute(6)}, "4-6 0-1", ""},
			{"between two records", replay.Bounds{From: minute(4).Add(time.Second), To: minute(6).Add(time.Second)}, "5-7 0-1", ""},
			{"from before the first record", replay.Bounds{From: minute(-60), To: minute(4)}, "2-4 0-0", "begins at offset 2, after " + minute(-60).Format(time.RFC3339)},
			{"from a time before 1970", replay.Bounds{From: time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)}, "2-10 0-1", "begins at offset 2"},
			{"to after the last record", replay.Bounds{From: minute(9), To: minute(600)}, "9-10 1-1", ""},
			{"after the last record", replay.Bounds{From: minute(600)}, "10-10 1-1", ""},
			{"one partition", replay.Bounds{Partitions: []int32{1, 1}}, "0-1", ""},
			{"by offsets", replay.Bounds{Partitions: []int32{0}, ByOffset: true, FromOffset: 3, ToOffset: 5}, "3-5", ""},
			{"open offsets", replay.Bounds{Partitions: []int32{0}, ByOffset: true, FromOffset: 3, ToOffset: -1}, "3-10", ""},
			{"deleted offsets", replay.Bounds{Partitions: []int32{0}, ByOffset: true, FromOffset: 1, ToOffset: 5}, "2-5", "begins at offset 2: what was before it is deleted"},
			{"all of them deleted", replay.Bounds{Partitions: []int32{0}, ByOffset: true, FromOffset: 0, ToOffset: 2}, "2-2", "begins at offset 2"},
			{"offsets beyond the end", replay.Bounds{Partitions: []int32{0}, ByOffset: true, FromOffset: 5, ToOffset: 50}, "5-10", "ends at offset 10 at present"},
			{"all of them beyond the end", replay.Bounds{Partitions: []int32{0}, ByOffset: true, FromOffset: 50, ToOffset: -1}, "50-10", "ends at offset 10 at present"},
		} {
			ranges, err := replay.Resolve(t.Context(), c, []string{name, name}, c0.bounds)
			if err != nil {
				t.Errorf("%s: Resolve = %v", c0.name, err)
				continue
			}
			var got []string
			for _, r := range ranges {
				got = append(got, fmt.Sprintf("%d-%d", r.From, r.To))
				if r.Topic != name || r.TopicID == [16]byte{} {
					t.Errorf("%s: Resolve gives topic %q with id %x", c0.name, r.Topic, r.TopicID)
				}
			}
			if got := strings.Join(got, " "); got != c0.want {
				t.Errorf("%s: Resolve = %s; want %s", c0.name, got, c0.want)
			}
			if got := ranges[0].Trimmed; !strings.Contains(got, c0.trimmed) || got != "" && c0.trimmed == "" {
				t.Errorf("%s: Trimmed = %q; want %q", c0.name, got, c0.trimmed)
			}
		}
		for want, of := range map[string]struct {
			topic  string
			bounds replay.Bounds
		}{
			"has no partition 2": {name, replay.Bounds{Partitions: []int32{0, 2}}},
			"does not exist":     {name + "-no", replay.Bounds{}},
		} {
			if _, err := replay.Resolve(t.Context(), c, []string{of.topic}, of.bounds); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Resolve = %v; want an error with %q", err, want)
			}
		}
		// Span does not depend on the range: it says where the records are instead.
		ranges, err := replay.Resolve(t.Context(), c, []string{name}, replay.Bounds{To: minute(-60)})
		if err != nil {
			t.Fatal(err)
		}
		first, last, found, err := replay.Span(t.Context(), c, ranges)
		if err != nil || !found || !first.Equal(minute(2)) || !last.Equal(minute(9)) {
			t.Errorf("Span = %v, %v, %t, %v; want %v, %v, true", first, last, found, err, minute(2), minute(9))
		}
		if first, last, found, err = replay.Span(t.Context(), c, []replay.Range{{Topic: name}}); err != nil || found || !first.IsZero() || !last.IsZero() {
			t.Errorf("Span of an empty partition = %v, %v, %t, %v; want no time, and no record", first, last, found, err)
		}
	})
}

// A record without a timestamp counts as found, and bounds no time.
func TestSpanWithoutTimestamps(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, brokers []string) {
		name := kafkatest.Topic(t, brokers, 2, nil)
		c := client(t, brokers)
		none := func(partition int32) *kgo.Record {
			return &kgo.Record{Topic: name, Partition: partition, Timestamp: time.UnixMilli(-1), Value: []byte("x")}
		}
		put(t, brokers, nil, none(0))
		first, last, found, err := replay.Span(t.Context(), c, all(t, c, name))
		if err != nil || !found || !first.IsZero() || !last.IsZero() {
			t.Errorf("Span of a record without a timestamp = %v, %v, %t, %v; want no time, but a record", first, last, found, err)
		}
		put(t, brokers, nil, at(name, 1, 1, "y"), none(1), at(name, 1, 2, "y"), none(1))
		first, last, found, err = replay.Span(t.Context(), c, all(t, c, name))
		if from, to := noon.Add(time.Minute), noon.Add(2*time.Minute); err != nil || !found || !first.Equal(from) || !last.Equal(to) {
			t.Errorf("Span of records of which some have timestamps = %v, %v, %t, %v; want %v, %v, true", first, last, found, err, from, to)
		}
	})
}

func TestWarmUp(t *testing.T) {
	kafkatest.Each(t, func(t *testing.T, brokers []string) {
		name := kafkatest.Topic(t, brokers, 2, nil)
		c := client(t, brokers)
		for m := range 10 {
			put(t, brokers, nil, at(name, 0, m, "x"))
		}
		put(t, brokers, nil, at(name, 1, 2, "y"))
		for want, bounds := range map[string]replay.Bounds{
			"3-8 1-1": {From: noon.Add(6 * time.Minute), To: noon.Add(8 * time.Minute)},
			"2-8 0-1": {From: noon.Add(5 * time.Minute), To: noon.Add(8 * time.Minute)}, // the other partition has a run-up alone
			"4-9":     {Partitions: []int32{0}, ByOffset: true, FromOffset: 7, ToOffset: 9},
			"0-3":     {Partitions: []int32{0}, ByOffset: true, FromOffset: 1, ToOffset: 3},
		} {
			ranges, err := replay.Resolve(t.Context(), c, []string{name}, bounds)
			if err != nil {
				t.Fatal(err)
			}
			warm, err := replay.WarmUp(t.Context(), c, ranges, bounds.From, 3*time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range warm {
				got = append(got, fmt.Sprintf("%d-%d", r.From, r.To))
			}
			if got := strings.Join(got, " "); got != want {
				t.Errorf("WarmUp(%+v) = %s; want %s", bounds, got, want)
			}
		}
		// A deleted run-up is reported in Trimmed, since alerts depend on it.
		if err := c.DeleteRecords(t.Context(), name, 0, 4); err != nil {
			t.Fatal(err)
		}
		bounds := replay.Bounds{Partitions: []int32{0}, ByOffset: true, FromOffset: 7, ToOffset: 9}
		ranges, err := replay.Resolve(t.Context(), c, []string{name}, bounds)
		if err != nil {
			t.Fatal(err)
		}
		for d, want := range map[time.Duration]string{2 * time.Minute: "", 5 * time.Minute: "begins at offset 4, after " + noon.Add(2*time.Minute).Format(time.RFC3339) + ": the run-up is shorter"} {
			warm, err := replay.WarmUp(t.Context(), c, ranges, time.Time{}, d)
			if err != nil {
				t.Fatal(err)
			}
			if got := warm[0].Trimmed; !strings.Contains(got, want) || got != "" && want == "" {
				t.Errorf("WarmUp by %v behind what was deleted says %q; want %q", d, got, want)
			}
		}
	})
}
