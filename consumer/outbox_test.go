package consumer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go/compress"

	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/kafka/wire"
)

// A lane with connections that break again and again delivers all records, in order, with
// repeats only of records already sent; and no router may commit past the acknowledged records.
func TestLaneDeliversInOrderThroughBrokenConnections(t *testing.T) {
	brokers := kafkatest.Brokers(t)
	topic := kafkatest.Topic(t, brokers, 1, nil)
	var dials atomic.Int64
	client := wire.NewClient(brokers, func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &mortal{Conn: c, writes: 4 + dials.Add(1)%5}, nil
	}, nil, nil)
	defer client.Close()

	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	l := &lane{client: client, topic: topic, most: 2 << 10, limit: 2 << 10, batch: wire.Batch{Codec: compress.Lz4}, timeout: 5 * time.Second, now: time.Now, log: zerolog.Nop(), failed: func() {}}
	l.init()
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.run(ctx)
	}()

	const n = 3000
	p := newProgress(0)
	for i := range n {
		if err := l.add(ctx, origin{router: p, offset: int64(i)}, nil, binary.BigEndian.AppendUint32(nil, uint32(i))); err != nil {
			t.Fatalf("add(%d) = %v; want nil", i, err)
		}
		p.handed(logPosition{int64(i) + 1, noEpoch}, 0)
		if i%500 == 0 {
			checkPosition(t, brokers, topic, p)
		}
	}
	l.idle(ctx)
	if got := p.position(); got != n {
		t.Errorf("position() = %d after everything is acknowledged; want %d", got, n)
	}
	stop()
	<-done

	newest := -1
	for _, rec := range kafkatest.ReadCommitted(t, brokers, topic) {
		i := int(binary.BigEndian.Uint32(rec.Value))
		if i > newest+1 {
			t.Fatalf("record %d follows %d; want no gap", i, newest)
		}
		newest = max(newest, i)
	}
	if newest != n-1 {
		t.Errorf("the last record is %d; want %d", newest, n-1)
	}
	if dials.Load() < 3 {
		t.Errorf("%d connections were made; want several, or nothing was broken", dials.Load())
	}
}

// checkPosition compares the position with the records of the broker.
func checkPosition(t *testing.T, brokers []string, topic string, p *progress) {
	t.Helper()
	at := p.position() // first: the broker may only gain
	have := make(map[uint32]bool)
	for _, rec := range kafkatest.ReadCommitted(t, brokers, topic) {
		have[binary.BigEndian.Uint32(rec.Value)] = true
	}
	for i := range uint32(at) {
		if !have[i] {
			t.Fatalf("position() = %d, but the broker does not have record %d", at, i)
		}
	}
}

// mortal is a connection that breaks after some writes: sometimes before the
// broker has read the request, sometimes before its answer is read.
type mortal struct {
	net.Conn
	writes int64
}

func (c *mortal) Write(b []byte) (int, error) {
	c.writes--
	switch {
	case c.writes < 0:
		return 0, errors.New("the connection broke before the request was sent")
	case c.writes == 0:
		n, err := c.Conn.Write(b)
		return n, errors.Join(err, errors.New("the connection broke after the request was sent"))
	}
	return c.Conn.Write(b)
}

// A router waits at a full lane, and stops waiting when its run ends.
func TestLaneIsBounded(t *testing.T) {
	l := &lane{most: 100, limit: 100, now: time.Now}
	l.init()
	ctx, stop := context.WithCancel(t.Context())
	p := newProgress(0)
	filled := make(chan int)
	go func() {
		for i := 0; ; i++ {
			if err := l.add(ctx, origin{router: p, offset: int64(i)}, nil, make([]byte, 40)); err != nil {
				filled <- i
				return
			}
		}
	}()
	time.AfterFunc(50*time.Millisecond, stop)
	if n := <-filled; n == 0 || n > 10 {
		t.Errorf("%d records of 40 bytes fit a lane of 100 bytes that nobody empties; want 1 to 10", n)
	}
	if got := p.position(); got != 0 {
		t.Errorf("position() = %d with nothing acknowledged; want 0", got)
	}
}

// The memory of a lane bounds its batch, not the size of the records before they are
// packed; the topic's limit bounds it too if the batch is packed as a whole.
func TestLaneFillsItsMemory(t *testing.T) {
	for name, c := range map[string]struct {
		codec        compress.Compression
		work         bool
		limit        int
		least, above int // bytes added
	}{
		"packed":                   {compress.Snappy, false, 4 << 20, 512 << 10, 4 << 20},
		"as they are":              {compress.Lz4, false, 4 << 20, 180 << 10, 193 << 10},
		"packed, low limit":        {compress.Snappy, false, 400 << 10, 280 << 10, 301 << 10},
		"very well packable":       {compress.Snappy, false, 1 << 20, 740 << 10, 769 << 10},
		"work":                     {compress.Snappy, true, 1 << 20, 512 << 10, 4 << 20},
		"work, very well packable": {compress.Snappy, true, 1 << 20, 1 << 20, 16 << 20},
		"work, not packed":         {compress.None, true, 1 << 20, 180 << 10, 193 << 10},
		"work, low limit":          {compress.None, true, 100 << 10, 70 << 10, 76 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			l := &lane{most: 256 << 10, limit: c.limit, batch: wire.Batch{Codec: c.codec}, now: time.Now}
			if c.work {
				l.batch.Codec, l.bundle.codec = compress.None, c.codec
			}
			l.init()
			from := origin{router: newProgress(0), time: 1}
			added := 0
			for n := 0; !l.enough(); n++ {
				head := fmt.Appendf(nil, "%x", sha256.Sum256([]byte{byte(n), byte(n >> 8)}))
				if strings.Contains(name, "very well packable") {
					head = nil
				}
				tail := bytes.Repeat([]byte("the same in each "), 20)
				added += len(head) + len(tail)
				var err error
				if c.work {
					err = l.addWork(t.Context(), from, head, tail)
				} else {
					err = l.add(t.Context(), from, nil, append(head, tail...))
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if added < c.least || added > c.above || l.held() > l.most || l.size() > c.limit {
				t.Errorf("the batch is sent with %d bytes in %d bytes of memory, and has %d; want %d to %d in %d at most, and %d", added, l.held(), l.size(), c.least, c.above, l.most, c.limit)
			}
		})
	}
}
