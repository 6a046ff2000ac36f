package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/segmentio/kafka-go/compress"

	"trailhound/consumer/kafka/wire"
)

// The limits of the chart: a container of 512Mi, and GOMEMLIMIT a tenth below.
const (
	containerMiB = 512
	goLimit      = "GOMEMLIMIT=460MiB"
)

// resident returns the resident set of a process in MiB; 0 once it has ended.
func resident(pid int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.Atoi(fields[1])
	if err != nil {
		return 0
	}
	return pages * os.Getpagesize() / mib
}

// watched starts a process with the memory of a container: it is killed as soon as it has
// more. The peak may be read in between and after the end.
func (s *site) watched(most int, args ...string) (p *program, peak *atomic.Int64) {
	s.Helper()
	s.env = []string{goLimit}
	p, peak = s.start(args...), new(atomic.Int64)
	go func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for ; !p.over(); <-tick.C {
			rss := resident(p.process.Pid)
			peak.Store(max(peak.Load(), int64(rss)))
			if rss > most {
				_ = p.process.Signal(syscall.SIGKILL) // it may have ended
			}
		}
	}()
	return p, peak
}

// sendBatch writes values as one record batch.
func (s *site) sendBatch(partition int32, codec compress.Compression, values ...[]byte) {
	s.Helper()
	b := wire.Batch{Codec: codec}
	for _, v := range values {
		b.Append(time.Now().UnixMilli(), nil, v)
	}
	encoded, err := b.Encode(nil, wire.NoProducer)
	if err != nil {
		s.Fatal(err)
	}
	part := []wire.PartitionBatch{{Topic: s.app.Inputs[0], Partition: partition, Batch: encoded}}
	if err := cmp.Or(s.client.Produce(s.Context(), "", time.Minute, part), part[0].Err); err != nil {
		s.Fatalf("write a batch of %d bytes: %v", len(encoded), err)
	}
}

// quotedBomb is gzip of a JSON string of so many bytes that holds an event, with a filler in its ARN.
func quotedBomb(t *testing.T, size int, filler string) []byte {
	t.Helper()
	part := []byte(strings.Repeat(filler, mib/len(filler)))
	return gzipped(t, func(w *gzip.Writer) error {
		_, err := w.Write([]byte(`"{\"eventVersion\":\"1.08\",\"eventTime\":\"2026-03-01T10:00:00Z\",\"eventName\":\"GetObject\",\"errorCode\":\"AccessDenied\",\"eventID\":\"big\",\"userIdentity\":{\"arn\":\"`))
		for range size / mib {
			_, e := w.Write(part)
			err = cmp.Or(err, e)
		}
		_, e := w.Write([]byte(`\"}}"`))
		return cmp.Or(err, e)
	})
}

// nestedBomb is gzip of an event in eight strings in one another, with so many blanks before it.
func nestedBomb(t *testing.T, blanks int, event string) []byte {
	t.Helper()
	b := append(bytes.Repeat([]byte(" "), blanks), event...)
	for range 7 {
		var err error
		if b, err = json.Marshal(string(b)); err != nil {
			t.Fatal(err)
		}
	}
	return gzipped(t, func(w *gzip.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

// A process with the chart's limits is never killed for memory, for any input: a record
// that unpacks beyond the limits becomes a dead letter, and the events around it are
// evaluated.
func TestMemoryBombs(t *testing.T) {
	if underRace {
		t.Skip("the race detector multiplies memory")
	}
	wide := []byte(strings.Replace(denial(1, "wide"), `"eventName"`, `"userAgent":"`+strings.Repeat("a", 500_000)+`","eventName"`, 1))
	for name, c := range map[string]struct {
		partitions int
		send       func(s *site)
		events     int
		letters    string
	}{
		"one record": {1, func(s *site) { s.sendBatch(0, compress.None, quotedBomb(s.T, 255*mib, "A")) }, 0, "[unpacked_too_large]"},
		"records in a row": {1, func(s *site) {
			one, two := quotedBomb(s.T, 255*mib, "A"), quotedBomb(s.T, 240*mib, `\\nBBBBBBBBBBBBBBBB`)
			s.sendBatch(0, compress.None, one, two, one, two)
		}, 0, "[unpacked_too_large unpacked_too_large unpacked_too_large unpacked_too_large]"},
		"just within the limit": {4, func(s *site) {
			for p := range int32(4) {
				one := quotedBomb(s.T, 16*mib, "A")
				s.sendBatch(p, compress.None, one, one)
			}
		}, 0, fmt.Sprint(slices.Repeat([]string{"event_too_large"}, 8))},
		"strings in strings": {sized(4, 32), func(s *site) {
			for i := range sized(8, 64) {
				s.sendBatch(int32(i%sized(4, 32)), compress.None, nestedBomb(s.T, 3_500_000, denial(i, "nest")))
			}
		}, sized(8, 64), "[]"},
		"dense batches": {sized(8, 64), func(s *site) {
			values := bytes.Split(bytes.TrimSuffix(bytes.Repeat(append(wide, 0), 24), []byte{0}), []byte{0})
			for p := range int32(sized(8, 64)) {
				s.sendBatch(p, []compress.Compression{compress.Zstd, compress.Gzip, compress.Lz4, compress.Snappy}[p%4], values...)
			}
		}, sized(8, 64) * 24, "[]"},
		"files of CloudTrail": {2, func(s *site) {
			// Read event by event, each may be larger than the part of a record that is
			// held at a time.
			event := append([]byte(denial(1, "file")), ',')
			for p := range int32(2) {
				s.sendBatch(p, compress.None, gzipped(s.T, func(w *gzip.Writer) error {
					_, err := w.Write([]byte(`{"Records":[`))
					for range sized(50_000, 250_000) {
						_, fail := w.Write(event)
						err = cmp.Or(err, fail)
					}
					_, fail := fmt.Fprint(w, denial(2, "file"), "]}")
					return cmp.Or(err, fail)
				}))
			}
		}, 2 * (sized(50_000, 250_000) + 1), "[]"},
		"a large record in a batch": {1, func(s *site) {
			for _, codec := range []compress.Compression{compress.Zstd, compress.Gzip, compress.Lz4, compress.Snappy} {
				s.sendBatch(0, codec, []byte(denial(1, "before")), bytes.Repeat([]byte("x"), 300*mib), []byte(denial(2, "behind")))
			}
		}, 8, "[unpacked_too_large unpacked_too_large unpacked_too_large unpacked_too_large]"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, fakeCluster(t).ListenAddrs(), 0)
			newTopic(t, s.brokers, s.app.Inputs[0], int32(c.partitions), "max.message.bytes", fmt.Sprint(64*mib))
			s.must("", "topics", "create")
			for p := range c.partitions {
				s.send(int32(p), denial(1000+p, "first"))
			}
			c.send(s)
			for p := range c.partitions {
				s.send(int32(p), denial(2000+p, "last"))
			}
			p, peak := s.watched(containerMiB, "run", "--set", "http.listen=127.0.0.1:0")
			s.drain()
			t.Logf("peak %d MiB", peak.Load())
			if got, want := p.metric("trailhound_events_total"), float64(c.events+2*c.partitions); got < want {
				t.Errorf("%.0f events were read; want %.0f", got, want)
			}
			reasons := []string{}
			for _, l := range s.letters() {
				reasons = append(reasons, l.Reason)
			}
			if fmt.Sprint(reasons) != c.letters {
				t.Errorf("dead letters %v; want %s", reasons, c.letters)
			}
		})
	}
}

// A record that has ended the process twice is not unpacked a third time: it becomes a dead
// letter, and the stream goes on.
func TestMemoryEndsTheProcess(t *testing.T) {
	if underRace {
		t.Skip("the race detector multiplies memory")
	}
	s := newSite(t, fakeCluster(t).ListenAddrs(), 1)
	s.send(0, denial(1, "before"))
	s.sendBatch(0, compress.None, quotedBomb(t, 110*mib, "A"))
	s.send(0, denial(2, "behind"))
	args := []string{"run", "--set", "http.listen=127.0.0.1:0", "--set", "limits.max_unpacked=256MiB"}
	const small = 200 // MiB, too small for the record
	for start := range 2 {
		p, _ := s.watched(small, args...)
		p.expectEnd()
		if code := p.wait(); code != -1 {
			t.Fatalf("start %d ended with %d; want it killed", start+1, code)
		}
		if !p.stderr.has("memory_tight") {
			t.Errorf("start %d does not say that limits.max_unpacked does not fit", start+1)
		}
	}
	p, _ := s.watched(small, args...)
	s.drain()
	letters := s.letters()
	if len(letters) != 1 || letters[0].Reason != "process_ended" || letters[0].Source.Offset != 1 || letters[0].Truncated != 0 {
		t.Errorf("dead letters %+v; want the one record, whole, as process_ended", letters)
	}
	if got := p.metric("trailhound_events_total"); got < 1 {
		t.Errorf("%.0f events were read; want the one behind", got)
	}
}

// The limit of a cgroup is found in the group or above it, in either version.
func TestCgroupMemory(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	for name, c := range map[string]struct {
		files fstest.MapFS
		want  int64
	}{
		"another system":   {fstest.MapFS{}, 0},
		"a container":      {fstest.MapFS{"proc/self/cgroup": file("0::/\n"), "sys/fs/cgroup/memory.max": file("536870912\n")}, 512 << 20},
		"no limit":         {fstest.MapFS{"proc/self/cgroup": file("0::/\n"), "sys/fs/cgroup/memory.max": file("max\n")}, 0},
		"a unit":           {fstest.MapFS{"proc/self/cgroup": file("0::/system.slice/x.service\n"), "sys/fs/cgroup/system.slice/x.service/memory.max": file("1073741824\n"), "sys/fs/cgroup/system.slice/memory.max": file("max\n")}, 1 << 30},
		"a parent's":       {fstest.MapFS{"proc/self/cgroup": file("0::/a/b\n"), "sys/fs/cgroup/a/b/memory.max": file("1073741824\n"), "sys/fs/cgroup/a/memory.max": file("268435456\n")}, 256 << 20},
		"version 1":        {fstest.MapFS{"proc/self/cgroup": file("9:cpu,cpuacct:/x\n4:memory:/docker/id\n"), "sys/fs/cgroup/memory/memory.limit_in_bytes": file("536870912\n")}, 512 << 20},
		"version 1, none":  {fstest.MapFS{"proc/self/cgroup": file("4:memory:/\n"), "sys/fs/cgroup/memory/memory.limit_in_bytes": file("9223372036854771712\n")}, 0},
		"something unread": {fstest.MapFS{"proc/self/cgroup": file("0::/\nodd\n"), "sys/fs/cgroup/memory.max": file("\n")}, 0},
	} {
		if got := cgroupMemory(c.files); got != c.want {
			t.Errorf("%s: cgroupMemory() = %d; want %d", name, got, c.want)
		}
	}
}
