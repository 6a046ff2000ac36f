package files

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"

	"trailhound/rules/cloudtrail"
)

const (
	splitBytes   = 256 << 10                    // bytes of records with which a batch is full
	splitRecords = 2048                         // most in a batch
	batchesAhead = windowBytes / 2 / splitBytes // of one file: that many fill its half of the window
)

// openFile is a file that is being read.
type openFile struct {
	File
	reader  *Reader
	share   share
	buffers *buffers
	records cloudtrail.Splitter
	at      int64       // number of the record at hand
	batch   *Batch      // being filled; nil: empty
	full    chan *Batch // closed at the file's end
	err     error       // the reason of an early end; to be read once full is closed
	given   int64       // bytes of the file in the batches given so far
}

// each calls yield for the batches of the file.
func (f *openFile) each(ctx context.Context, yield func(*Batch) error) error {
	for {
		select {
		case b, ok := <-f.full:
			if !ok {
				return f.err
			}
			if err := yield(b); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (f *openFile) run(ctx context.Context) {
	defer close(f.full)
	f.err = f.read(ctx)
	if f.archive != nil {
		f.archive.done()
	}
}

func (f *openFile) read(ctx context.Context) error {
	in, err := f.open()
	if err != nil {
		return f.end(ctx, err)
	}
	defer in.Close()
	flush := func() error { return f.flush(ctx) }
	s := f.buffers.stream()
	s.unpacked.reset(rawReader{r: in, advance: f.advance})
	s.ahead.begin(ctx, &s.unpacked, flush)
	defer f.buffers.ended(s)
	f.records = cloudtrail.Splitter{Reader: f.share.reader(s.ahead), MaxRecord: min(f.reader.MaxRecord, cloudtrail.DefaultMaxHeld)}
	f.records.Swap(f.buffers.take())
	defer func() { f.buffers.keep(f.records.Swap(nil)) }()
	for ; ; f.at++ {
		record, err := f.records.Next()
		if tooLarge, ok := errors.AsType[*cloudtrail.RecordTooLargeError](err); ok {
			if err := f.passedOver(ctx, tooLarge); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return f.end(ctx, err)
		}
		if err := f.add(ctx, record); err != nil {
			return err
		}
	}
}

// open opens the file, or the member of an archive.
func (f *openFile) open() (io.ReadCloser, error) {
	switch {
	case f.File.err != nil:
		return nil, f.File.err
	case f.member != nil:
		return openMember(&f.File)
	case f.Name == "-":
		return io.NopCloser(f.reader.Stdin), nil
	}
	file, err := os.Open(f.Name)
	if err != nil {
		return nil, pathError(err, false)
	}
	return file, nil
}

// advance counts bytes read. The archive counts those of its members.
func (f *openFile) advance(n int) {
	if f.member == nil {
		f.reader.Advance(n)
	}
}

// passedOver reports a record that was left out, after the records before it.
func (f *openFile) passedOver(ctx context.Context, why error) error {
	at := f.at
	return f.give(ctx, func() { f.reader.Refused(f.Name, at, cloudtrail.ReasonUnpackedTooLarge, why.Error()) })
}

// add puts a record into the batch, and hands on a full batch.
func (f *openFile) add(ctx context.Context, record []byte) error {
	if len(record) > splitBytes {
		return f.addLarge(ctx, record)
	}
	b := f.filling()
	start := len(b.data)
	b.data = append(b.data, record...)
	b.Records = append(b.Records, b.data[start:len(b.data):len(b.data)])
	if len(b.data) < splitBytes && len(b.Records) < splitRecords {
		return nil
	}
	return f.flush(ctx)
}

// filling returns the batch to put a record into.
func (f *openFile) filling() *Batch {
	if f.batch == nil {
		f.batch = f.buffers.batch()
		f.batch.File, f.batch.First = f.Name, f.at
	}
	return f.batch
}

// addLarge ends the batch with the record, which keeps the splitter's buffer; the splitter
// gets another.
func (f *openFile) addLarge(ctx context.Context, record []byte) error {
	b := f.filling()
	b.Records = append(b.Records, record)
	b.large = f.records.Swap(f.buffers.take())
	return f.flush(ctx)
}

// flush hands on the batch unless it is empty.
func (f *openFile) flush(ctx context.Context) error {
	if f.batch == nil {
		return nil
	}
	return f.give(ctx, func() {})
}

// end hands on the last batch and ends the file because of err. An error of the file itself
// is reported after its records.
func (f *openFile) end(ctx context.Context, err error) error {
	reason, bad := badFile(err)
	if !bad && err != io.EOF {
		return cmp.Or(f.flush(ctx), err)
	}
	at := f.at
	return f.give(ctx, func() {
		if bad {
			f.reader.Refused(f.Name, at, reason, err.Error())
		}
		f.reader.Ended()
	})
}

// give hands on the batch; then runs once the batch is processed. A batch of a few bytes
// has as much memory as a full one, and counts as one.
func (f *openFile) give(ctx context.Context, then func()) error {
	b, bytes := f.filling(), f.records.Offset()-f.given
	f.given += bytes
	if more := splitBytes - bytes; more > 0 {
		if err := f.share.take(more); err != nil {
			return err
		}
		bytes = splitBytes
	}
	b.Done = func() {
		then()
		f.buffers.done(b)
		f.share.release(1, bytes)
	}
	f.share.hand()
	select {
	case f.full <- b:
		f.batch = nil
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
