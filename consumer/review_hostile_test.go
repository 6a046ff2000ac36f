package consumer_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/segmentio/kafka-go/compress"
	"github.com/twmb/franz-go/pkg/kgo"

	"trailhound/consumer"
	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/kafka/wire"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal puts the length, the codec and the checksum of a record batch right.
func seal(batch []byte, codec compress.Compression) []byte {
	binary.BigEndian.PutUint32(batch[8:], uint32(len(batch)-12))
	binary.BigEndian.PutUint16(batch[21:], uint16(codec))
	binary.BigEndian.PutUint32(batch[17:], crc32.Checksum(batch[21:], castagnoli))
	return batch
}

// batch encodes records with values alone as one record batch.
func batch(t *testing.T, values ...[]byte) []byte {
	t.Helper()
	var b wire.Batch
	for _, v := range values {
		b.Append(time.Now().UnixMilli(), nil, v)
	}
	out, err := b.Encode(nil, wire.NoProducer)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// bomb is a record batch of a few KB with one record of size zeros.
func bomb(t *testing.T, size int) []byte {
	t.Helper()
	head := batch(t, nil)[:61]
	value := binary.AppendVarint(nil, int64(size))
	body := slices.Concat([]byte{0, 0, 0, 1}, value) // attributes, time and offset deltas, null key
	var packed bytes.Buffer
	w, err := zstd.NewWriter(&packed, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	write := func(b []byte) {
		if _, err := w.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	write(slices.Concat(binary.AppendVarint(nil, int64(len(body)+size+1)), body))
	zeros := make([]byte, 1<<20)
	for left := size; left > 0; left -= len(zeros) {
		write(zeros[:min(left, len(zeros))])
	}
	write([]byte{0}) // no headers
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return seal(append(head, packed.Bytes()...), compress.Zstd)
}

// zstdBatch is a record batch with one record, as small as zstd makes it.
func zstdBatch(t *testing.T, key, value []byte) []byte {
	t.Helper()
	var b wire.Batch
	b.Append(time.Now().UnixMilli(), key, value)
	out, err := b.Encode(nil, wire.NoProducer)
	if err != nil {
		t.Fatal(err)
	}
	w, err := zstd.NewWriter(nil, zstd.WithWindowSize(8<<20))
	if err != nil {
		t.Fatal(err)
	}
	return seal(w.EncodeAll(out[61:], slices.Clone(out[:61])), compress.Zstd)
}

// sendBatch writes a record batch to the input as it is.
func (r *rig) sendBatch(b []byte) {
	r.Helper()
	parts := []wire.Part{{Topic: r.app.Inputs[0], Batch: b}}
	if err := errors.Join(r.client.Produce(r.Context(), "", 10*time.Second, parts), parts[0].Err); err != nil {
		r.Fatalf("Produce() of %d bytes = %v; want nil", len(b), err)
	}
}

// Any producer of the input can write a batch that unpacks beyond all measure, or, if the
// broker does not look into batches, one with malformed records. It becomes a dead letter,
// and the stream goes on. FAILURES 16.
func TestServiceUnreadableBatch(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, 1)
	hostile := [][]byte{bomb(t, 300<<20)}
	if kafkatest.Real() == nil {
		b := batch(t, []byte("never seen"))
		b[len(b)-12] = 0x7e // the length of the value
		hostile = append(hostile, seal(b, compress.None))
	}
	var want []string
	r.send(&kgo.Record{Value: []byte(assume("trusted", "arn:r", "192.0.2.0", noon))})
	for i, b := range hostile {
		r.sendBatch(b)
		r.send(&kgo.Record{Value: []byte(assume(fmt.Sprint(i), "arn:r", "192.0.2.1", noon))})
		want = append(want, fmt.Sprint("assume_role_unique_ip ", i))
	}
	r.start("only", disk(), nil)
	r.drain()
	r.wantAlerts(want)
	letters := kafkatest.ReadCommitted(t, r.brokers, r.app.DeadLetter)
	if len(letters) != len(hostile) {
		t.Fatalf("%d dead letters; want %d", len(letters), len(hostile))
	}
	for i, l := range letters {
		if got, want := header(l, "reason"), []string{"unpacked_too_large", "unreadable_batch"}[i]; got != want {
			t.Errorf("dead letter %d has reason %q (%s); want %q", i, got, header(l, "detail"), want)
		}
		if got, want := header(l, "source_offset"), fmt.Sprint(1+2*i); got != want {
			t.Errorf("dead letter %d has source_offset %q; want %q", i, got, want)
		}
	}
}

// The limit of a topic is that of a compressed batch, so that a record may come in with a
// key and a value that fit no dead letter: it is cut, and no other record waits for it.
// FAILURES 16, 22.
func TestServiceHugeKey(t *testing.T) {
	for _, codec := range []compress.Compression{compress.None, compress.Lz4} {
		t.Run(codec.String(), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1, 1)
			huge := noise(400_000)
			key := bytes.Repeat(huge, 8) // lz4 looks back 64 KiB and finds nothing in it, zstd looks further
			r.send(&kgo.Record{Value: []byte(assume("trusted", "arn:r", "192.0.2.0", noon))})
			r.sendBatch(zstdBatch(t, key, append([]byte("junk "), huge...)))
			r.send(&kgo.Record{Value: []byte(assume("1", "arn:r", "192.0.2.1", noon))})
			r.start("only", disk(), func(s *consumer.Service) { s.Codec = codec })
			r.drain()
			r.wantAlerts([]string{"assume_role_unique_ip 1"})
			letters := kafkatest.ReadCommitted(t, r.brokers, r.app.DeadLetter)
			if len(letters) != 1 {
				t.Fatalf("%d dead letters; want 1", len(letters))
			}
			l := letters[0]
			if got := header(l, "key_truncated_from"); got != fmt.Sprint(len(key)) || !bytes.HasPrefix(key, l.Key) || len(l.Key) == 0 {
				t.Errorf("the dead letter has a key of %d bytes and key_truncated_from %q; want the first bytes of %d", len(l.Key), got, len(key))
			}
			if got := header(l, "reason"); got != "not_json" {
				t.Errorf("the dead letter has reason %q; want not_json", got)
			}
		})
	}
}

// noise returns n bytes that do not compress.
func noise(n int) []byte {
	out := make([]byte, 0, n+32)
	for sum := uint32(1); len(out) < n; {
		sum = crc32.Update(sum, castagnoli, out[max(0, len(out)-8):])
		sum = sum*2654435761 + uint32(len(out))
		out = binary.LittleEndian.AppendUint32(out, sum)
	}
	return out[:n]
}
