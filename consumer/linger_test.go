package consumer

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
	"time"

	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/kafka/wire"
)

func TestLinger(t *testing.T) {
	p := lingerPolicy{usual: 20 * time.Millisecond, behind: 100 * time.Millisecond}
	for _, c := range []struct {
		records int
		age     time.Duration
		want    time.Duration
	}{
		{0, 0, 0},
		{1, 0, time.Millisecond},
		{7, 0, 7 * time.Millisecond},
		{20, 0, 20 * time.Millisecond},
		{1 << 40, 0, 20 * time.Millisecond},
		{1 << 40, -time.Hour, 20 * time.Millisecond}, // the producer's clock is ahead
		{1 << 40, 200 * time.Millisecond, 20 * time.Millisecond},
		{1 << 40, 500 * time.Millisecond, 50 * time.Millisecond},
		{1 << 40, time.Hour, 100 * time.Millisecond},
		{7, time.Hour, 7 * time.Millisecond}, // few records gain nothing by company
	} {
		if got := p.linger(c.records, c.age); got != c.want {
			t.Errorf("linger(%d, %v) = %v; want %v", c.records, c.age, got, c.want)
		}
	}
}

func TestSooner(t *testing.T) {
	p, now := lingerPolicy{usual: 20 * time.Millisecond, behind: 100 * time.Millisecond}, time.UnixMilli(10_000)
	for _, c := range []struct{ due, age, want time.Duration }{
		{100 * time.Millisecond, 0, 20 * time.Millisecond},
		{100 * time.Millisecond, 500 * time.Millisecond, 50 * time.Millisecond},
		{100 * time.Millisecond, time.Hour, 100 * time.Millisecond},
		{5 * time.Millisecond, 0, 5 * time.Millisecond},
		{-time.Second, 0, -time.Second},
	} {
		if got := p.sooner(now.Add(c.due), now, c.age).Sub(now); got != c.want {
			t.Errorf("sooner(in %v) with events %v old = in %v; want in %v", c.due, c.age, got, c.want)
		}
	}
}

// Events of a backlog in one partition must not hold back fresh ones from another, and a
// record without a timestamp may be fresh.
func TestYoungest(t *testing.T) {
	now := time.UnixMilli(10_000)
	for _, c := range []struct {
		times []int64
		want  time.Duration
	}{{[]int64{1000, 4000, 2000}, 6 * time.Second}, {[]int64{1000, -1, 2000}, 0}, {[]int64{0}, 10 * time.Second}} {
		var y newestTimestamp
		for _, at := range c.times {
			y.add(at, func() time.Time { return now })
		}
		if got := y.age(now); got != c.want {
			t.Errorf("age of records of %v = %v; want %v", c.times, got, c.want)
		}
	}
}

// A lone record must not wait, many must share a request, and a full batch must not
// wait for the clock: else the partition producer's pause would be a limit on its throughput.
func TestPartitionProducerLinger(t *testing.T) {
	for _, c := range []struct {
		name  string
		pause time.Duration // since the last request
		bytes int           // of the record
		want  time.Duration // until the batch is taken
	}{
		{"the first record", 0, 100, 0},
		{"a record soon after a request", 15 * time.Millisecond, 100, 15 * time.Millisecond},
		{"as much as is enough", 15 * time.Millisecond, 800, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			kafkatest.Bubble(t, func(t *testing.T) {
				l := &partitionProducer{most: 1000, limit: 1000, now: time.Now}
				l.init()
				l.putBack(l.spare, c.pause)
				start := time.Now()
				taken := make(chan time.Duration)
				go func() {
					_, _, _ = l.take()
					taken <- time.Since(start)
				}()
				synctest.Wait()
				if err := l.add(context.Background(), sourceOffset{router: newAckTracker(0)}, nil, bytes.Repeat([]byte("x"), c.bytes)); err != nil {
					t.Fatal(err)
				}
				if got := <-taken; got != c.want {
					t.Errorf("the batch is taken after %v; want %v", got, c.want)
				}
			})
		})
	}
}

// The requests of a backlog are far apart; a fresh record must not wait for that.
func TestPartitionProducerLingerFollowsAge(t *testing.T) {
	for _, c := range []struct{ before, after, want time.Duration }{
		{time.Hour, time.Hour, producerLinger.behind},
		{time.Hour, 0, producerLinger.usual},
		{0, time.Hour, producerLinger.usual},
	} {
		kafkatest.Bubble(t, func(t *testing.T) {
			l := &partitionProducer{most: 1 << 20, limit: 1 << 20, now: time.Now}
			l.init()
			start := time.Now()
			for range 1000 {
				l.spare.note(sourceOffset{router: newAckTracker(0), time: start.Add(-c.before).UnixMilli()}, start)
			}
			l.sent(l.spare)
			taken := make(chan time.Duration)
			go func() {
				_, _, _ = l.take()
				taken <- time.Since(start)
			}()
			if err := l.add(context.Background(), sourceOffset{router: newAckTracker(0), time: start.Add(-c.after).UnixMilli()}, nil, []byte("x")); err != nil {
				t.Fatal(err)
			}
			if got := <-taken; got != c.want {
				t.Errorf("events %v old behind some %v old are taken after %v; want %v", c.after, c.before, got, c.want)
			}
		})
	}
}

// A batch may have no room for the next record long before it is full: waiting then gains
// nothing, and a router, with all its other partition producers, stands still.
func TestProducerSendsWhenSomebodyWaitsForRoom(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T) {
		l := &partitionProducer{most: 1000, limit: 1000, now: time.Now}
		l.init()
		l.next = time.Now().Add(20 * time.Millisecond)
		start := time.Now()
		taken := make(chan time.Duration, 2)
		go func() {
			_, _, _ = l.take()
			taken <- time.Since(start)
		}()
		for range 2 {
			if err := l.add(context.Background(), sourceOffset{router: newAckTracker(0), time: -1}, nil, make([]byte, 600)); err != nil {
				t.Fatal(err)
			}
		}
		if got := <-taken; got != 0 {
			t.Errorf("the batch is taken after %v; want at once", got)
		}
	})
}

func TestRouterTellsTheAgeOfARecord(t *testing.T) {
	r := router{progress: newAckTracker(0), at: inputRecord{Record: &wire.Record{Offset: 7, Epoch: 4, LastEpoch: 3, Timestamp: 5000}}}
	if got, want := r.origin(&r.at), (sourceOffset{r.progress, 7, 3, 5000}); got != want {
		t.Errorf("origin() = %v; want %v", got, want)
	}
}

// The end of a run does not wait for a partition producer's pause.
func TestPartitionProducerLingerEnds(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T) {
		l := &partitionProducer{most: 1000, limit: 1000, now: time.Now}
		l.init()
		l.putBack(l.spare, time.Hour)
		taken := make(chan *inflightBatch)
		go func() {
			c, _, _ := l.take()
			taken <- c
		}()
		if err := l.add(context.Background(), sourceOffset{router: newAckTracker(0)}, nil, []byte("x")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		l.close()
		if c := <-taken; c != nil {
			t.Error("a producer that was closed gives a batch; want none")
		}
	})
}

func TestProducerBytes(t *testing.T) {
	for producers, want := range map[int]int{0: 512 << 10, 1: 512 << 10, 8: 384 << 10, 16: 192 << 10, 64: 128 << 10} {
		if got := producerBytes(producers); got != want {
			t.Errorf("producerBytes(%d) = %d; want %d", producers, got, want)
		}
	}
}

func TestFetchBytes(t *testing.T) {
	for prefetchers, want := range map[int]int{0: 1 << 20, 1: 1 << 20, 4: 1 << 20, 8: 512 << 10, 16: 256 << 10, 64: 128 << 10, 65: 128 << 10, 256: 128 << 10, 512: 64 << 10, 1000: (32 << 20) / 1000, 2000: 32 << 10} {
		if got := fetchBytes(inputMemory, prefetchers, fewInputs); got != want {
			t.Errorf("fetchBytes(%d) = %d; want %d", prefetchers, got, want)
		}
	}
}

// A detector collects until its next commit is due, and takes the fetches that come meanwhile.
func TestPrefetcherNext(t *testing.T) {
	kafkatest.Bubble(t, func(t *testing.T) {
		f := prefetcher{Prefetcher: wire.Prefetcher{Full: make(chan *wire.Fetched, 1)}}
		start := time.Now()
		if f.next(30*time.Millisecond) != nil || time.Since(start) != 30*time.Millisecond {
			t.Errorf("next of an empty prefetcher ends after %v; want 30ms", time.Since(start))
		}
		if f.next(0) != nil || time.Since(start) != 30*time.Millisecond {
			t.Error("next without patience waits")
		}
		time.AfterFunc(10*time.Millisecond, func() { f.Full <- new(wire.Fetched) })
		if f.next(time.Hour) == nil || time.Since(start) != 40*time.Millisecond {
			t.Errorf("next with patience ends after %v; want 40ms, with what came", time.Since(start))
		}
		close(f.Full)
		if f.next(time.Hour) != nil {
			t.Error("next of a prefetcher that has ended is not nil")
		}
	})
}
