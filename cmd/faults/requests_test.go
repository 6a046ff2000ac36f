package main

import (
	"encoding/binary"
	"slices"
	"testing"
)

// ask is one of a kind, with a body of so many bytes.
func ask(key uint16, body int) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(2+body))
	return append(binary.BigEndian.AppendUint16(b, key), make([]byte, body)...)
}

const (
	heartbeatKey = 12
	fetchKey     = 1
)

// However the requests come in pieces, the first to a leader is found in the piece that completes its header, and a body
// that looks like one is not.
func TestRequestsToLeader(t *testing.T) {
	others := slices.Concat(ask(heartbeatKey, 8), ask(heartbeatKey, 0), ask(3, 40))
	all := slices.Concat(others, ask(fetchKey, 20), ask(heartbeatKey, 8))
	for size := 1; size <= len(all); size++ {
		var r requests
		first := -1
		for at := 0; at < len(all); at += size {
			piece := all[at:min(at+size, len(all))]
			if n := r.toLeader(piece); n < len(piece) && first < 0 {
				first = at + n
			}
		}
		if first < len(others) || first >= len(others)+requestHeader {
			t.Errorf("in pieces of %d: the request begins at %d; want it found within its header at %d", size, first, len(others))
		}
		if size == len(all) && first != len(others) {
			t.Errorf("in one piece: the request begins at %d, want %d", first, len(others))
		}
	}
}

// TestRequestsOfGarbage: bytes that are no request, and impossible sizes, do not stop the count.
func TestRequestsOfGarbage(t *testing.T) {
	for _, text := range [][]byte{nil, {0}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3}, make([]byte, 64)} {
		var r requests
		if n := r.toLeader(text); n > len(text) || n < 0 {
			t.Errorf("toLeader(%v) = %d", text, n)
		}
	}
}

// TestProxySwallows: a connection to a broker that swallows works until its first request
// to a leader, and is silent from then on, while other connections work. Afterwards the
// bytes come, or the connection ends.
func TestProxySwallows(t *testing.T) {
	for _, lose := range []bool{false, true} {
		p, address := through(t, echo(t))
		c, other := dial(t, address), dial(t, address)
		p.set(mode{swallow: true, lose: lose})
		beat, fetch := string(ask(heartbeatKey, 8)), string(ask(fetchKey, 8))
		send(t, c, beat+fetch+beat)
		expect(t, c, beat)
		expectSilence(t, c)
		send(t, other, beat)
		expect(t, other, beat)
		p.set(mode{})
		if lose {
			expectEnd(t, c)
		} else {
			expect(t, c, fetch+beat)
		}
		send(t, other, fetch)
		expect(t, other, fetch)
	}
}
