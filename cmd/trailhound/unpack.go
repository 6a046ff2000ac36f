package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"trailhound/rules"
)

// maxWrappings is how many times a whole file may be gzip of gzip: delivery services add their own around what
// they are given.
const maxWrappings = 3

// badFile tells errors that lie in what the file holds from those of reading it.
func badFile(err error) (rules.Reason, bool) {
	if _, ok := errors.AsType[*unpackError](err); ok {
		return rules.ReasonBadGzip, true
	}
	return "", false
}

// rawReader counts the bytes that come from outside, and keeps the error that came with them.
type rawReader struct {
	r       io.Reader
	advance func(n int)
	err     error
}

func (r *rawReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.advance(n)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

// unpacked reads raw, through gzip if it begins as gzip does.
type unpacked struct {
	raw rawReader
	r   io.Reader // nil: not begun

	// Kept for the next file.
	buffers [maxWrappings + 1]*bufio.Reader
	zips    [maxWrappings]rules.GzipReader
}

// reset begins another file.
func (u *unpacked) reset(raw rawReader) { u.raw, u.r = raw, nil }

func (u *unpacked) Read(p []byte) (int, error) {
	if u.r == nil {
		if err := u.begin(); err != nil {
			return 0, u.explain(err)
		}
	}
	n, err := u.r.Read(p)
	return n, u.explain(err)
}

func (u *unpacked) begin() error {
	b := u.buffered(0, &u.raw)
	for n := range maxWrappings {
		if !beginsGzip(b) {
			break
		}
		if err := u.zips[n].Reset(b); err != nil {
			return err
		}
		b = u.buffered(n+1, &u.zips[n])
	}
	u.r = b
	return nil
}

// beginsGzip looks as far ahead as it takes, and as the buffer reaches.
func beginsGzip(b *bufio.Reader) bool {
	for n := 2; ; n *= 2 {
		ahead, err := b.Peek(min(n, b.Size()))
		if is, sure := rules.BeginsGzip(ahead); sure || err != nil || n >= b.Size() {
			return is
		}
	}
}

func (u *unpacked) buffered(n int, r io.Reader) *bufio.Reader {
	if u.buffers[n] == nil {
		u.buffers[n] = bufio.NewReaderSize(nil, readSize)
	}
	u.buffers[n].Reset(r)
	return u.buffers[n]
}

// explain marks an error that is not the file's but gzip's.
func (u *unpacked) explain(err error) error {
	if err == nil || err == io.EOF || u.raw.err != nil {
		return err
	}
	return &unpackError{err}
}

// unpackError says that a file is gzip that cannot be unpacked.
type unpackError struct{ err error }

func (e *unpackError) Error() string {
	return fmt.Sprintf("the file cannot be unpacked further: %v", e.err)
}

func (e *unpackError) Unwrap() error { return e.err }
