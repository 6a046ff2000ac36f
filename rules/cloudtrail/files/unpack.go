package files

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"trailhound/rules/cloudtrail"
)

// maxWrappings bounds how many times a whole file may be packed over and over, as gzip of
// gzip: delivery services add a packing of their own.
const maxWrappings = 3

// reasonCannotUnpack is the reason of a file that cannot be unpacked, unless its outermost
// packing is gzip: records may be gzip too, and have a reason for it.
const reasonCannotUnpack cloudtrail.Reason = "cannot_unpack"

// badFile tells errors in the content of a file from those of reading it.
func badFile(err error) (cloudtrail.Reason, bool) {
	if unpack, ok := errors.AsType[*unpackError](err); ok {
		return unpack.reason, true
	}
	return "", false
}

// rawReader counts the bytes of the file or stream, and keeps its read error.
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

// unpacked reads raw, and unpacks it if it begins with the magic number of a packing.
type unpacked struct {
	raw    rawReader
	r      io.Reader         // nil: not begun
	reason cloudtrail.Reason // of an error in the unpacking

	// Kept for the next file.
	buffers [maxWrappings + 1]*bufio.Reader
	layers  [maxWrappings]layer
}

// reset begins another file.
func (u *unpacked) reset(raw rawReader) { u.raw, u.r, u.reason = raw, nil, reasonCannotUnpack }

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
		p := packingOf(b)
		if p == notPacked {
			break
		}
		if n == 0 && p == packedByGzip {
			u.reason = cloudtrail.ReasonBadGzip
		} else {
			u.reason = reasonCannotUnpack
		}
		r, err := u.layers[n].open(p, b)
		if err != nil {
			return err
		}
		b = u.buffered(n+1, r)
	}
	if what := unreadable(b); what != "" {
		u.reason = reasonCannotUnpack
		return errors.New(what)
	}
	u.r = b
	return nil
}

func (u *unpacked) buffered(n int, r io.Reader) *bufio.Reader {
	if u.buffers[n] == nil {
		u.buffers[n] = bufio.NewReaderSize(nil, readSize)
	}
	u.buffers[n].Reset(r)
	return u.buffers[n]
}

// explain marks an error of the packing; one of reading the file stays as it is.
func (u *unpacked) explain(err error) error {
	if err == nil || err == io.EOF || u.raw.err != nil {
		return err
	}
	return &unpackError{u.reason, err}
}

// unpackError is the error of a file that cannot be unpacked.
type unpackError struct {
	reason cloudtrail.Reason
	err    error
}

func (e *unpackError) Error() string {
	return fmt.Sprintf("the file cannot be unpacked further: %v", e.err)
}

func (e *unpackError) Unwrap() error { return e.err }
