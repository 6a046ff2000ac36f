package wire

import "github.com/segmentio/kafka-go/compress"

// unpacked are buffers for the records of one batch, or for data packed in one record: the
// batches of one topic are alike, those of another may be ten times as large. A goroutine
// holds one while it goes through a fetch: there are as many as goroutines at work, not as
// many as fetches that wait their turn.
var unpacked bufferPool

// Unpacked holds unpacked data, in memory that is lent. The zero value is empty.
type Unpacked struct {
	Bytes  []byte // valid until the next call of Set or Close
	buffer *[]byte
}

// Set unpacks src, which may come to as many bytes as a record.
func (u *Unpacked) Set(codec compress.Compression, src []byte) error {
	if u.buffer == nil {
		u.buffer = unpacked.get(0)
	}
	var err error
	*u.buffer, err = unpack(codec, (*u.buffer)[:0], src, maxUnpacked)
	u.Bytes = *u.buffer
	return err
}

// Close gives the memory back.
func (u *Unpacked) Close() {
	if u.buffer != nil {
		unpacked.put(u.buffer)
	}
	*u = Unpacked{}
}
