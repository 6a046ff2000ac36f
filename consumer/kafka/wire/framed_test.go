package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestThrottleTimes compares the place of throttle_time_ms with another implementation of
// the protocol, for all versions of each request, and for answers in pieces of any size.
func TestThrottleTimes(t *testing.T) {
	const ms = 4321
	found := 0
	for key := range int16(kmsg.MaxKey) {
		_, sent := throttleTimes[protocol.ApiKey(key)]
		if !sent {
			continue
		}
		for version := range kmsg.ResponseForKey(key).MaxVersion() + 1 {
			answer := func(ms int64) []byte {
				res := kmsg.ResponseForKey(key)
				res.SetVersion(version)
				reflect.ValueOf(res).Elem().FieldByName("ThrottleMillis").SetInt(ms)
				if res.IsFlexible() {
					return res.AppendTo([]byte{0})
				}
				return res.AppendTo(nil)
			}
			body := answer(ms)
			told := !bytes.Equal(body, answer(0)) && (key != int16(kmsg.Produce) || version < throttleTimes[protocol.Produce].flexible)
			want := time.Duration(0)
			if told {
				want, found = ms*time.Millisecond, found+1
			}
			for _, piece := range []int{1, 3, len(body)} {
				var f throttleField
				f.begin(protocol.ApiKey(key), version)
				for rest := body; len(rest) > 0; {
					n := min(piece, len(rest))
					f.add(rest[:n])
					rest = rest[n:]
				}
				if got := f.value(); got != want {
					t.Errorf("throttle time of %s version %d in pieces of %d = %v; want %v", kmsg.NameForKey(key), version, piece, got, want)
				}
			}
		}
	}
	if found < 100 {
		t.Errorf("only %d versions of answers have a throttle time; want at least 100", found)
	}
}

// served lets a server speak to a framed connection that has sent its request.
func served(t *testing.T, server func(conn net.Conn, id uint32)) *framed {
	t.Helper()
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		head := make([]byte, requestHead+2+1)
		if _, err := io.ReadFull(theirs, head); err != nil {
			return
		}
		server(theirs, binary.BigEndian.Uint32(head[8:]))
	}()
	f := newFramed(ours, "broker:9092")
	t.Cleanup(func() { f.Close() })
	if err := writeFrame(f, appendHeader(nil, int16(protocol.ApiVersions), 0, 77, "c")); err != nil {
		t.Fatal(err)
	}
	return f
}

// An HTTP server at a broker's address took 2 GB and ten seconds of a core, for a decoder
// allocates the size that the first bytes seem to announce.
func TestForeignServers(t *testing.T) {
	for said, want := range map[string]string{
		"HTTP/1.1 400 Bad Request\r\n\r\n":                 "broker:9092 answers as an HTTP server, not as Kafka",
		"<!DOCTYPE HTML>\n<html>":                          "broker:9092 answers as an HTTP server, not as Kafka",
		"\x00\x00\x18\x04\x00\x00\x00\x00\x00\x00\x05\x00": "broker:9092 answers as an HTTP/2 server, not as Kafka",
		"\x15\x03\x01\x00\x02\x02\x46":                     "broker:9092 answers as a TLS server, not as Kafka",
		"SSH-2.0-OpenSSH_9.6\r\n":                          "broker:9092 answers as an SSH server, not as Kafka",
		"220 mail.example.com ESMTP\r\n":                   "broker:9092 answers as a mail or FTP server, not as Kafka",
		"-ERR unknown command\r\n":                         "broker:9092 answers as a Redis server, not as Kafka",
		"J\x00\x00\x00\x0a8.0.36\x00":                      "broker:9092 answers as a MySQL server, not as Kafka",
		"AMQP\x00\x00\x09\x01":                             "broker:9092 answers as an AMQP server, not as Kafka",
		"hello, world":                                     `broker:9092 does not answer as Kafka: its answer begins with "hell"`,
		"\x00\x00\x00\x10\x00\x00\x00\x4e0123456789":       `broker:9092 does not answer as Kafka: its answer begins with "\x00\x00\x00\x10\x00\x00\x00N"`,
		"\x00\x00\x00\x03abc":                              `broker:9092 does not answer as Kafka: its answer begins with "\x00\x00\x00\x03"`,
		"\xff\xff\xff\xff":                                 `broker:9092 does not answer as Kafka: its answer begins with "\xff\xff\xff\xff"`,
	} {
		for _, piece := range []int{1, 5, len(said)} {
			f := served(t, func(conn net.Conn, _ uint32) {
				for rest := said; rest != ""; {
					n := min(piece, len(rest))
					if _, err := io.WriteString(conn, rest[:n]); err != nil {
						return
					}
					rest = rest[n:]
				}
			})
			// As kafka-go reads it.
			_, _, err := protocol.ReadResponse(f, protocol.ApiVersions, 0)
			if _, ok := errors.AsType[*ForeignError](err); !ok || err.Error() != want {
				t.Errorf("an answer that begins with %q in pieces of %d is %v; want %s", said, piece, err, want)
			}
		}
	}
}

// A server that has answered once as Kafka is Kafka; a false frame later is damage, and
// costs no memory either.
func TestDamagedFrames(t *testing.T) {
	for _, later := range []string{"\x7f\xff\xff\xff\x00\x00\x00\x4d", "\x00\x00\x00\x08\x00\x00\x00\x4e0000"} {
		f := served(t, func(conn net.Conn, id uint32) {
			good := binary.BigEndian.AppendUint32(nil, 10)
			good = append(binary.BigEndian.AppendUint32(good, id), make([]byte, 6)...)
			if _, err := conn.Write(append(good, later...)); err != nil {
				return
			}
		})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		body := make([]byte, 14)
		if _, err := io.ReadFull(f, body[:10]); err != nil && !errors.Is(err, errMalformed) {
			t.Fatalf("read a good answer = %v; want nil", err)
		}
		_, err := io.Copy(io.Discard, f)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, errMalformed) {
			t.Errorf("read a later answer that begins with %q = %v; want %v", later, err, errMalformed)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 1<<20 {
			t.Errorf("a false frame cost %d bytes", took)
		}
	}
}

// A request to a broker that throttles this client waits, but not for nothing: with an
// earlier deadline, which may be set meanwhile, it fails at once.
func TestThrottledRequestsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		throttle := func(ms uint32) *framed {
			ours, theirs := net.Pipe()
			t.Cleanup(func() { ours.Close(); theirs.Close() })
			f := newFramed(ours, "broker:9092")
			go func() { _, _ = io.Copy(io.Discard, theirs) }()
			if err := writeFrame(f, appendHeader(nil, int16(protocol.Heartbeat), 3, 5, "c")); err != nil {
				t.Fatal(err)
			}
			answer := append(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 10), 5), 0, 0, 0, 0, 0, 0)
			binary.BigEndian.PutUint32(answer[8:], ms)
			go func() { _, _ = theirs.Write(answer) }()
			if _, err := io.ReadFull(f, make([]byte, len(answer))); err != nil {
				t.Fatal(err)
			}
			return f
		}
		send := func(f *framed) (time.Duration, error) {
			began := time.Now()
			err := writeFrame(f, appendHeader(nil, int16(protocol.Heartbeat), 3, 6, "c"))
			return time.Since(began), err
		}
		for ms, want := range map[uint32]time.Duration{0: 0, 2500: 2500 * time.Millisecond, 3_600_000: mostThrottled, 1 << 31: 0} {
			f := throttle(ms)
			if took, err := send(f); took != want || err != nil {
				t.Errorf("a request after an answer with throttle_time_ms=%d waits %v, %v; want %v, nil", ms, took, err, want)
			}
			if took, err := send(f); took != 0 || err != nil {
				t.Errorf("the request after that one waits %v, %v; want 0, nil", took, err)
			}
		}
		f := throttle(10_000)
		if err := f.SetDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		took, err := send(f)
		var unsent *unsentError
		if took != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &unsent) || !strings.Contains(fmt.Sprint(err), "throttles this client for another 10s") {
			t.Errorf("a request with a deadline of 1s to a broker that throttles for 10s ends after %v with %v", took, err)
		}
		f = throttle(10_000)
		time.AfterFunc(2*time.Second, func() { _ = f.SetDeadline(time.Unix(1, 0)) })
		if took, err := send(f); took != 2*time.Second || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a request that is cut off after 2s ends after %v with %v", took, err)
		}
	})
}
