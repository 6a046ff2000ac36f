package main

import "encoding/binary"

// requestHeader is how much of a request tells its size and kind: four bytes and two.
const requestHeader = 6

// requests finds the requests in the bytes that a client sends to a broker, in pieces of any size.
type requests struct {
	head []byte // of a request, as long as its kind is not complete
	left int    // bytes until the next request
}

// toLeader takes the next piece and returns the index in it of the first request that only
// the leader of a partition answers; len(piece): there is none. Such a request that began
// in earlier pieces is at 0.
func (r *requests) toLeader(piece []byte) int {
	found := len(piece)
	for at := 0; at < len(piece); {
		if r.left > 0 {
			n := min(r.left, len(piece)-at)
			r.left -= n
			at += n
			continue
		}
		begin := max(at-len(r.head), 0)
		n := min(requestHeader-len(r.head), len(piece)-at)
		r.head = append(r.head, piece[at:at+n]...)
		at += n
		if len(r.head) < requestHeader {
			break
		}
		if found == len(piece) && asksLeader(binary.BigEndian.Uint16(r.head[4:])) {
			found = begin
		}
		r.left = max(int(binary.BigEndian.Uint32(r.head))-2, 0)
		r.head = r.head[:0]
	}
	return found
}

// asksLeader tells whether a kind of request (an API key of the protocol) goes to the leader of a partition.
func asksLeader(key uint16) bool {
	switch key {
	case 0, 1, 2, 23: // Produce, Fetch, ListOffsets, OffsetForLeaderEpoch
		return true
	}
	return false
}
