package wire

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go/compress"

	"trailhound/consumer/kafka/internal/primitive"
)

// inEpoch gives batches a leader epoch, which their checksum does not cover.
func inEpoch(epoch int32, batches ...[]byte) []byte {
	set := slices.Concat(batches...)
	for rest := set; len(rest) > 0; {
		binary.BigEndian.PutUint32(rest[atLeaderEpoch:], uint32(epoch))
		rest = rest[int(binary.BigEndian.Uint32(rest[atLength:]))+logOverhead:]
	}
	return set
}

// Each record tells the leader epoch of its batch, and that of the batch before it in the
// log: a committed offset is checked with the latter, and a batch without records for the
// reader (of a transaction that was aborted, a control batch, one that compaction has
// emptied) counts as well as others. An epoch that is too low makes the check find a loss
// where there is none.
func TestRecordsTellTheirLeaderEpoch(t *testing.T) {
	a := encode(t, 10, compress.Zstd, nil, "a0", "a1")
	b := encode(t, 20, compress.None, nil, "b0", "b1")
	type at struct{ own, last int32 }
	for _, c := range []struct {
		name string
		req  FetchRequest
		set  []byte
		want []at
		last int32
	}{
		{"nothing, not verified", FetchRequest{Offset: 10, LastEpoch: 9}, nil, nil, -1},
		{"nothing, verified", FetchRequest{Offset: 10, Verify: true, LastEpoch: 3}, nil, nil, 3},
		{"one epoch", FetchRequest{Offset: 10, Verify: true, LastEpoch: 0}, inEpoch(0, a, b), []at{{0, 0}, {0, 0}, {0, 0}, {0, 0}}, 0},
		{"a new epoch", FetchRequest{Offset: 10, Verify: true, LastEpoch: 3}, slices.Concat(inEpoch(4, a), inEpoch(6, b)), []at{{4, 3}, {4, 4}, {6, 4}, {6, 6}}, 6},
		{"the epoch before is not known", FetchRequest{Offset: 10}, inEpoch(4, a), []at{{4, -1}, {4, 4}}, 4},
		{"from inside a batch", FetchRequest{Offset: 11, Verify: true, LastEpoch: 4}, slices.Concat(inEpoch(4, a), inEpoch(5, b)), []at{{4, 4}, {5, 4}, {5, 5}}, 5},
		{"a control batch between", FetchRequest{Offset: 10, Verify: true, LastEpoch: 3}, slices.Concat(inEpoch(4, a), inEpoch(5, marker(t, 12, 1, 1)), inEpoch(6, b)), []at{{4, 3}, {4, 4}, {6, 5}, {6, 6}}, 6},
		{"an emptied batch at the end", FetchRequest{Offset: 10, Verify: true, LastEpoch: 3}, slices.Concat(inEpoch(4, a), inEpoch(5, hollow(t, 12, 4))), []at{{4, 3}, {4, 4}}, 5},
		{"a batch of before the offset", FetchRequest{Offset: 20, Verify: true, LastEpoch: 5}, slices.Concat(inEpoch(4, a), inEpoch(5, b)), []at{{5, 5}, {5, 5}}, 5},
		{"no epochs", FetchRequest{Offset: 10, Verify: true, LastEpoch: -1}, inEpoch(-1, a), []at{{-1, -1}, {-1, -1}}, -1},
		{"an epoch that is none", FetchRequest{Offset: 10}, inEpoch(-7, a), []at{{-1, -1}, {-1, -1}}, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var f Fetched
			f.reset(c.req)
			if err := f.take(c.set); err != nil {
				t.Fatalf("take() = %v; want nil", err)
			}
			var got []at
			if err := f.Each(func(r *Record) bool { got = append(got, at{r.Epoch, r.LastEpoch}); return true }); err != nil {
				t.Fatalf("Each() = %v; want nil", err)
			}
			if !slices.Equal(got, c.want) || f.LastEpoch != c.last {
				t.Errorf("records with (epoch, epoch before) %v, last epoch %d; want %v, %d", got, f.LastEpoch, c.want, c.last)
			}
		})
	}
}

// Leader epochs of a log never go down. The checksum does not cover the header field, so a
// damaged byte of it would pass; and as sources are ordered by epoch first, each record
// after it would be taken for a repeat, in silence.
func TestLeaderEpochGoesDown(t *testing.T) {
	a, b := encode(t, 10, compress.None, nil, "a"), encode(t, 11, compress.None, nil, "b")
	wantDamage := func(f *Fetched, err error, offset int64) {
		t.Helper()
		corrupt, ok := errors.AsType[*CorruptError](err)
		if !ok || !corrupt.Damaged || corrupt.Offset != offset || !strings.Contains(corrupt.Reason, "leader epoch") || f.Next != offset {
			t.Errorf("take() = %v, next offset %d; want damage at offset %d that names the leader epoch", err, f.Next, offset)
		}
	}
	var f Fetched
	f.reset(FetchRequest{Offset: 10, Verify: true, LastEpoch: 5})
	wantDamage(&f, f.take(inEpoch(4, a)), 10)

	f.reset(FetchRequest{Offset: 10, Verify: true, LastEpoch: 5})
	if err := f.take(slices.Concat(inEpoch(5, a), inEpoch(4, b))); err != nil || f.Next != 11 || values(t, &f) != "a" {
		t.Errorf("take() = %v, next offset %d; want what lies before the batch", err, f.Next)
	}
	f.reset(FetchRequest{Offset: f.Next, Verify: true, LastEpoch: f.LastEpoch})
	wantDamage(&f, f.take(inEpoch(4, b)), 11)

	f.reset(FetchRequest{Offset: 11, Verify: true, LastEpoch: 5})
	if err := f.take(slices.Concat(inEpoch(4, a), inEpoch(5, b))); err != nil || values(t, &f) != "b" {
		t.Errorf("take() = %v; want nil: what lies before the offset is of an earlier epoch", err)
	}
}

// divergedAnswer is a broker's answer when a leader epoch ends in its log before the offset
// that was asked for: no records, and two tagged fields.
func divergedAnswer(epoch int32, end int64) []byte {
	body := flexibleAnswer(nil)
	body = body[:len(body)-3] // of the partition, the topic, the response
	body = append(body, 2)
	body = append(body, divergingEpoch, 13)
	body = append(appendInt64(appendInt32(body, epoch), end), 0)
	body = append(body, 1, 9) // the leader
	body = append(appendInt32(appendInt32(body, 2), 7), 0)
	return append(body, 0, 0)
}

func TestDivergedAnswer(t *testing.T) {
	req := seedRequest
	req.Offset, req.Verify, req.LastEpoch = 200, true, 4
	var f Fetched
	f.reset(req)
	body := divergedAnswer(3, 100)
	r := primitive.Reader{Rest: body}
	var a fetchAnswer
	a.read(&r, 13, &f)
	if r.Bad || len(r.Rest) != 0 {
		t.Fatalf("the answer is not read whole: %+v, %d bytes left", a, len(r.Rest))
	}
	err := a.verdict("fetch", req)
	got, ok := errors.AsType[*DivergedError](err)
	if want := (DivergedError{"t", 3, 200, 4, EpochEnd{3, 100}}); !ok || *got != want {
		t.Errorf("verdict() = %v; want %+v", err, want)
	}
	for n := range body {
		r, a := primitive.Reader{Rest: body[:n]}, fetchAnswer{}
		if a.read(&r, 13, &f); !r.Bad {
			t.Errorf("an answer cut off behind %d of %d bytes is read as whole", n, len(body))
		}
	}
	short := slices.Clone(body)
	short[slices.Index(short, 13)] = 11 // the field is shorter than its value
	r = primitive.Reader{Rest: short}
	if a = (fetchAnswer{}); true {
		if a.read(&r, 13, &f); !r.Bad {
			t.Error("a diverging epoch of 11 bytes is read; want a malformed response")
		}
	}
}

func TestFetchRequestVersions(t *testing.T) {
	id := [16]byte{7}
	for _, c := range []struct {
		req  FetchRequest
		want int16
	}{
		{FetchRequest{}, 11},
		{FetchRequest{LastEpoch: 3}, 11},
		{FetchRequest{Verify: true, LastEpoch: -1}, 11},
		{FetchRequest{Verify: true, LastEpoch: 0}, 12},
		{FetchRequest{TopicID: id}, 13},
		{FetchRequest{TopicID: id, Verify: true, LastEpoch: 0}, 13},
	} {
		if a := c.req.api(); a.max != c.want {
			t.Errorf("%+v is sent in versions up to %d; want %d", c.req, a.max, c.want)
		}
	}
	one, two := FetchRequest{TopicID: id, Offset: 9}, FetchRequest{TopicID: id, Offset: 9, Verify: true, LastEpoch: 4}
	plain, verified := one.append(nil, 13), two.append(nil, 13)
	if at := slices.Index(verified, 4); len(plain) != len(verified) || at < 0 || !slices.Equal(verified[at-3:at+1], []byte{0, 0, 0, 4}) || !slices.Equal(plain[at-3:at+1], []byte{255, 255, 255, 255}) {
		t.Errorf("the requests are\n%x and\n%x; want them to differ in the last epoch, -1 and 4", plain, verified)
	}
}

func TestEpochEndHolds(t *testing.T) {
	for _, c := range []struct {
		end    EpochEnd
		epoch  int32
		offset int64
		want   bool
	}{
		{EpochEnd{3, 100}, 3, 100, true},
		{EpochEnd{3, 101}, 3, 100, true},
		{EpochEnd{3, 99}, 3, 100, false},  // cut back within the epoch
		{EpochEnd{2, 90}, 3, 100, false},  // the whole epoch is gone
		{EpochEnd{2, 300}, 3, 100, false}, // a leader from before it, with a longer log
	} {
		if got := c.end.Holds(c.epoch, c.offset); got != c.want {
			t.Errorf("%+v.Holds(%d, %d) = %t; want %t", c.end, c.epoch, c.offset, got, c.want)
		}
	}
}
