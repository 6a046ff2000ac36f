package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"

	"trailhound/rules"
	"trailhound/state"
)

// maxWrappings is how many times a whole file may be gzip of gzip: delivery services add their own around what
// they are given.
const maxWrappings = 3

// fileReader reads records out of files, one file after the other.
type fileReader struct {
	stdin     io.Reader
	console   *console
	maxRecord int64
	tally     *tally
	// pause is called before more input is waited for: what was found so far should be shown by then.
	pause func() error
}

// each calls yield for every record of the files. A record's source is the file's name, partition 0 and the number of
// the record in the file, from 0. What cannot be unpacked, or not be read in one piece, ends its file as a bad
// record; an error of the disk or of yield ends it all.
func (r *fileReader) each(ctx context.Context, files []inputFile, yield func(at state.Source, record []byte) error) error {
	for _, f := range files {
		if err := r.file(ctx, f, yield); err != nil {
			return err
		}
		r.tally.files++
	}
	return nil
}

func (r *fileReader) file(ctx context.Context, f inputFile, yield func(at state.Source, record []byte) error) error {
	in := r.stdin
	if f.name != "-" {
		file, err := os.Open(f.name)
		if err != nil {
			return pathError(err)
		}
		defer file.Close()
		in = file
	}
	ahead := readAhead(ctx, &unpacked{raw: rawReader{r: in, advance: r.console.advance}}, r.pause)
	defer ahead.stop()
	records := rules.Splitter{Reader: ahead, MaxRecord: r.maxRecord}
	at := state.Source{Topic: f.name}
	for ; ; at.Offset++ {
		record, err := records.Next()
		if err == nil {
			r.tally.records++
			err = yield(at, record)
		} else if reason, ok := badFile(err); ok {
			r.tally.bad(r.console, at, -1, reason, err.Error())
			return nil
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// badFile tells errors that lie in what the file holds from those of reading it.
func badFile(err error) (rules.Reason, bool) {
	var tooLarge *rules.RecordTooLargeError
	var unpack *unpackError
	switch {
	case errors.As(err, &tooLarge):
		return rules.ReasonUnpackedTooLarge, true
	case errors.As(err, &unpack):
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
}

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
	b := bufio.NewReaderSize(&u.raw, readSize)
	for range maxWrappings {
		if magic, _ := b.Peek(2); string(magic) != "\x1f\x8b" {
			break
		}
		z, err := gzip.NewReader(b)
		if err != nil {
			return err
		}
		b = bufio.NewReaderSize(z, readSize)
	}
	u.r = b
	return nil
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
