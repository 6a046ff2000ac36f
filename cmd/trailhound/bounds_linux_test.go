package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"trailhound/consumer/kafka/wire"
)

const mib = 1 << 20

// peak returns the largest resident set that a process has had, in MiB; 0 once it has
// ended. The rusage of an ended process is no help: it begins with the set of the parent.
func (p *program) peak() int {
	p.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.process.Pid))
	if err != nil {
		return 0
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(text)
	if m == nil {
		return 0
	}
	kb, err := strconv.Atoi(string(m[1]))
	if err != nil {
		p.Fatal(err)
	}
	return kb / 1024
}

// within checks the peak of the process's memory.
func (p *program) within(most int, what string) {
	p.Helper()
	got := p.peak()
	if got == 0 {
		p.Fatalf("%s: the process has ended", what)
	}
	p.Logf("%s: peak %d MiB", what, got)
	if got > most && !underRace { // the race detector multiplies memory
		p.Errorf("%s: the process had %d MiB; want at most %d", what, got, most)
	}
}

// page returns the answer of the program's HTTP server; nil while its address is not logged
// yet.
func (p *program) page(path string) []byte {
	p.Helper()
	address := regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(p.stderr.String())
	if address == "" {
		return nil
	}
	res, err := http.Get("http://" + address + path)
	if err != nil {
		p.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		p.Fatal(err)
	}
	return text
}

// metric returns the sum of a metric's values.
func (p *program) metric(name string) (sum float64) {
	p.Helper()
	for _, m := range regexp.MustCompile(`(?m)^`+name+`(?:\{.*\})? (\S+)$`).FindAllStringSubmatch(string(p.page("/metrics")), -1) {
		v, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			p.Fatal(err)
		}
		sum += v
	}
	return sum
}

// random returns size bytes of text that compress to half at best, as the payloads of real events may.
func random(rng *rand.Rand, size int) string {
	b := make([]byte, size)
	for i := range b {
		b[i] = "0123456789abcdef"[rng.IntN(16)]
	}
	return string(b)
}

// useOf is the use of a role from an address, with a field of so many bytes.
func useOf(rng *rand.Rand, id, role string, size int) string {
	return fmt.Sprintf(`{"eventVersion":"1.11","eventID":%q,"eventTime":"2026-03-01T10:00:00Z","eventName":"AssumeRole","eventSource":"sts.amazonaws.com","sourceIPAddress":"192.0.2.1","userAgent":%q,"requestParameters":{"roleArn":%q}}`,
		id, random(rng, size), role)
}

// flood writes events to all partitions of the input.
func (s *site) flood(partitions int, events []string) {
	s.Helper()
	client := kafkaClient(s, s.brokers, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.Lz4Compression()))
	for i, e := range events {
		client.Produce(s.Context(), &kgo.Record{Topic: s.app.Inputs[0], Partition: int32(i % partitions), Value: []byte(e)}, nil)
	}
	if err := client.Flush(s.Context()); err != nil {
		s.Fatal(err)
	}
}

// A stream of the largest events that CloudTrail writes is like any other stream.
func TestBoundsLargeEvents(t *testing.T) {
	t.Parallel()
	s := newSite(t, fakeCluster(t).ListenAddrs(), 4)
	rng := rand.New(rand.NewPCG(1, 1))
	p := s.start("run")
	var peaks []int
	for round := range sized(1, 3) {
		var events []string
		for i := range 250 {
			events = append(events, useOf(rng, fmt.Sprint(round, "-", i), fmt.Sprint("arn:r", i%50), 255<<10))
		}
		s.flood(4, events)
		s.drain()
		peaks = append(peaks, p.peak())
	}
	t.Logf("peaks after 64 MB each: %d MiB", peaks)
	p.within(400, "events of 256 KB")
}

// A file of 50 MB (in full tests), which unpacks to more than 100, is one record: it is
// evaluated. A file that unpacks to more than limits.max_unpacked is a dead letter, and costs little
// time and memory.
func TestBoundsRecordsFile(t *testing.T) {
	if underRace {
		t.Skip("under the race detector memory says nothing, and compressing this takes minutes")
	}
	rng := rand.New(rand.NewPCG(2, 2))
	file, events := recordsFile(t, rng, sized(8, 50)*mib)
	bomb := gzipped(t, func(w *gzip.Writer) error {
		for range sized(500, 2000) {
			if _, err := w.Write(make([]byte, mib)); err != nil {
				return err
			}
		}
		return nil
	})
	t.Logf("%d MiB of gzip with %d events, and a bomb of %d KiB", len(file)/mib, events, len(bomb)>>10)

	path := filepath.Join(t.TempDir(), "file.json.gz")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, fakeCluster(t).ListenAddrs(), 0)
	newTopic(t, s.brokers, s.app.Inputs[0], 2, "max.message.bytes", fmt.Sprint(64*mib))
	s.must("", "topics", "create")
	d := s.start("detect", path)
	peak := 0
	await(t, "detect to end", func() bool {
		peak = max(peak, d.peak())
		return d.over()
	})
	if code := d.wait(); code != exitDone || !d.stderr.has(fmt.Sprintf("events %d,", events)) {
		t.Fatalf("detect = %d with %q; want 0 and %d events", code, &d.stderr, events)
	}
	t.Logf("detect: peak %d MiB", peak)
	if peak == 0 || peak > 250 {
		t.Errorf("detect had %d MiB; want at most 250", peak)
	}

	send := func(partition int32, value []byte) {
		var b wire.Batch
		b.Append(time.Now().UnixMilli(), nil, value)
		encoded, err := b.Encode(nil, wire.NoProducer)
		if err != nil {
			t.Fatal(err)
		}
		part := []wire.PartitionBatch{{Topic: s.app.Inputs[0], Partition: partition, Batch: encoded}}
		if err := cmp.Or(s.client.Produce(t.Context(), "", time.Minute, part), part[0].Err); err != nil {
			t.Fatalf("write a record of %d bytes: %v", len(value), err)
		}
	}
	p := s.start("run", "--set", "http.listen=127.0.0.1:0")
	rounds := sized(1, 3) // 256 MiB of buffers for fetches, and an event of unpacked bytes
	for range rounds {
		send(0, file)
		send(1, file)
		send(0, bomb)
		send(1, bomb)
	}
	s.drain()
	if got := p.metric("trailhound_events_total"); got != float64(2*rounds*events) {
		t.Errorf("%.0f events were read; want %d", got, 2*rounds*events)
	}
	if got := s.letters(); len(got) != 2*rounds {
		t.Errorf("%d dead letters, the first %+v; want %d", len(got), got[:min(1, len(got))], 2*rounds)
	}
	// Zeros are no JSON, and more of them than a value may have: the reason is the size.
	if got := p.metric(`trailhound_dead_letters_total{reason="unpacked_too_large"}`); got != float64(2*rounds) {
		t.Errorf("%.0f times unpacked_too_large; want %d", got, 2*rounds)
	}
	p.within(600, "files of 50 MB, two at a time")
	began := time.Now()
	send(0, bomb)
	s.drain()
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("a bomb takes %s; want a second or two", took)
	}
}

// recordsFile returns a {"Records":[…]} document of size bytes as gzip, and the number of its events.
func recordsFile(t *testing.T, rng *rand.Rand, size int) (file []byte, events int) {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(z, `{"Records":[`)
	for ; b.Len() < size; events++ {
		fmt.Fprint(z, useOf(rng, fmt.Sprint("e", events), fmt.Sprint("arn:r", events%100), 1500), ",\n")
	}
	fmt.Fprint(z, useOf(rng, "last", "arn:last", 10), `]}`)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), events + 1
}

func gzipped(t *testing.T, write func(*gzip.Writer) error) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if err := write(z); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// One instance may have to do all the work of 64 shards and 64 input partitions, from a
// backlog in each. It needs the buffers of 128 prefetchers and 64 partition producers, a few
// MiB each, and as much garbage again.
func TestBoundsManyShards(t *testing.T) {
	t.Parallel()
	s := newSite(t, fakeCluster(t).ListenAddrs(), 64, "shards=64")
	rng := rand.New(rand.NewPCG(3, 3))
	var events []string
	for i := range sized(6_000, 30_000) {
		events = append(events, useOf(rng, fmt.Sprint("e", i), fmt.Sprint("arn:r", i%1000), 3000))
	}
	s.flood(64, events)
	p := s.start("run", "--set", "shards=64", "--set", "http.listen=127.0.0.1:0")
	s.drain()
	p.within(1800, "64 shards and 64 partitions")
	if got := p.metric("go_goroutines"); got > 1500 {
		t.Errorf("the process has %.0f goroutines; want at most 1500", got)
	} else {
		t.Logf("%.0f goroutines", got)
	}
}

// While the broker of the alerts does not answer, the shards wait and the input goes on into the work topic; nothing
// piles up in the process, and nothing is lost when it answers again.
func TestBoundsSilentAlertsBroker(t *testing.T) {
	cluster := fakeCluster(t)
	s := newSite(t, cluster.ListenAddrs(), 2, "topics.alert_partitions=1")
	silent, held := make(chan struct{}), make(chan struct{}, 1000)
	cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		for _, topic := range req.(*kmsg.ProduceRequest).Topics {
			if topic.Topic == s.app.Alerts || topic.TopicID == cluster.TopicInfo(s.app.Alerts).TopicID {
				select {
				case <-silent:
					return nil, nil, false
				case held <- struct{}{}:
				}
				cluster.SleepControl(func() { <-silent })
			}
		}
		return nil, nil, false
	})
	p := s.start("run", "--set", "topics.alert_partitions=1", "--set", "kafka.request_timeout=1s")
	rng := rand.New(rand.NewPCG(4, 4))
	const rounds, each = 4, 5000
	for round := range rounds {
		var events []string
		for i := range each {
			e := useOf(rng, fmt.Sprint(round, "-", i), fmt.Sprint("arn:r", i), 4000)
			events = append(events, strings.Replace(e, `"192.0.2.1"`, fmt.Sprintf(`"192.0.2.%d"`, round), 1))
		}
		s.flood(2, events)
		if round == 0 {
			s.drain() // no alerts yet
			continue
		}
		s.await("several requests for alerts without an answer", func() bool { return len(held) > 3*round })
	}
	p.within(500, "a silent broker and 60 MB of input")
	close(silent)
	s.drain()
	if got, want := len(s.alerts()), (rounds-1)*each; got != want {
		t.Errorf("%d alerts; want %d", got, want)
	}
	p.within(500, "a broker that answers again")
}
