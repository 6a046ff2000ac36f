package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"runtime"

	"trailhound/rules/cloudtrail"
	"trailhound/rules/play"
	"trailhound/state"
)

const (
	splitBytes   = 256 << 10                    // bytes of records with which a batch is full
	splitRecords = 2048                         // most in a batch
	batchesAhead = windowBytes / 2 / splitBytes // of one file: that many fill its half of the window
)

// fileReader reads records out of files. It reads several files at once, and hands on their
// records in the order of the files.
type fileReader struct {
	stdin     io.Reader
	console   *console
	maxRecord int64
	tally     *tally
}

// each calls yield for every record of the files. A record's source is the file's name,
// partition 0 and the number of the record in the file, from 0; the elements of a list are
// records. An error of unpacking ends its file as a bad record; an error of the disk or of
// yield ends the reading.
func (r *fileReader) each(ctx context.Context, files []inputFile, yield func(at state.Source, record []byte) error) error {
	return r.batches(ctx, files, func(b *play.Batch) error {
		for i := range b.Records {
			r.tally.records++
			if err := yield(b.Records[i].At, b.Records[i].Value); err != nil {
				return err
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
		b.Done()
		return nil
	})
}

// batches is each for batches of records. The caller calls Done on a batch that it has
// processed: only then the end of its file is counted, and its share of the window is free.
func (r *fileReader) batches(ctx context.Context, files []inputFile, yield func(*play.Batch) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for f := range r.begin(ctx, files) {
		f.share.enter()
		if err := f.each(ctx, yield); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// begin starts to read the files, as many at once as there are processors. It sends them in
// their order.
func (r *fileReader) begin(ctx context.Context, files []inputFile) <-chan *openFile {
	begun := make(chan *openFile, runtime.GOMAXPROCS(0)-1)
	w, buffers := newWindow(ctx), &buffers{}
	go func() {
		defer close(begun)
		for file := range r.unarchived(ctx, files) {
			f := &openFile{inputFile: file, reader: r, share: share{window: w}, buffers: buffers, full: make(chan *fileBatch, batchesAhead)}
			select {
			case begun <- f:
				go f.run(ctx)
			case <-ctx.Done():
				return
			}
		}
	}()
	return begun
}

// unarchived gives the files, with the members of a zip archive in its place. An archive
// that cannot be read keeps its place; its reader reports the error.
func (r *fileReader) unarchived(ctx context.Context, files []inputFile) iter.Seq[inputFile] {
	return func(yield func(inputFile) bool) {
		for _, file := range files {
			members := []inputFile{file}
			if file.member == nil && isZip(&file) {
				found, err := membersOf(ctx, file, r.console.advance)
				if members[0].err = err; err == nil {
					members = found
				}
			}
			for _, m := range members {
				if !yield(m) {
					return
				}
			}
		}
	}
}

// openFile is a file that is being read.
type openFile struct {
	inputFile
	reader  *fileReader
	share   share
	buffers *buffers
	records cloudtrail.Splitter
	batch   *fileBatch      // being filled; nil: empty
	full    chan *fileBatch // closed at the file's end
	err     error           // the reason of an early end; to be read once full is closed
	given   int64           // bytes of the file in the batches given so far
}

// each calls yield for the batches of the file.
func (f *openFile) each(ctx context.Context, yield func(*play.Batch) error) error {
	for {
		select {
		case b, ok := <-f.full:
			if !ok {
				return f.err
			}
			if err := yield(&b.Batch); err != nil {
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
	at := state.Source{Topic: f.name}
	in, err := f.open()
	if err != nil {
		return f.end(ctx, at, err)
	}
	defer in.Close()
	flush := func() error { return f.flush(ctx) }
	s := f.buffers.stream()
	s.unpacked.reset(rawReader{r: in, advance: f.advance})
	s.ahead.begin(ctx, &s.unpacked, flush)
	defer f.buffers.ended(s)
	f.records = cloudtrail.Splitter{Reader: f.share.reader(s.ahead), MaxRecord: min(f.reader.maxRecord, cloudtrail.DefaultMaxHeld)}
	f.records.Swap(f.buffers.take())
	defer func() { f.buffers.keep(f.records.Swap(nil)) }()
	for ; ; at.Offset++ {
		record, err := f.records.Next()
		if tooLarge, ok := errors.AsType[*cloudtrail.RecordTooLargeError](err); ok {
			if err := f.passedOver(ctx, at, tooLarge); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return f.end(ctx, at, err)
		}
		if err := f.add(ctx, at, record); err != nil {
			return err
		}
	}
}

// open opens the file, or the member of an archive.
func (f *openFile) open() (io.ReadCloser, error) {
	switch {
	case f.inputFile.err != nil:
		return nil, f.inputFile.err
	case f.member != nil:
		return openMember(&f.inputFile)
	case f.name == "-":
		return io.NopCloser(f.reader.stdin), nil
	}
	file, err := os.Open(f.name)
	if err != nil {
		return nil, pathError(err)
	}
	return file, nil
}

// advance moves the bar by bytes read. The archive counts those of its members.
func (f *openFile) advance(n int) {
	if f.member == nil {
		f.reader.console.advance(n)
	}
}

// passedOver reports a record that was left out, after the records before it.
func (f *openFile) passedOver(ctx context.Context, at state.Source, why error) error {
	r := f.reader
	return f.give(ctx, func() { r.tally.bad(r.console, at, -1, cloudtrail.ReasonUnpackedTooLarge, why.Error()) })
}

// add puts a record into the batch, and hands on a full batch.
func (f *openFile) add(ctx context.Context, at state.Source, record []byte) error {
	if len(record) > splitBytes {
		return f.addLarge(ctx, at, record)
	}
	b := f.filling()
	start := len(b.data)
	b.data = append(b.data, record...)
	b.Records = append(b.Records, play.Record{At: at, Value: b.data[start:len(b.data):len(b.data)]})
	if len(b.data) < splitBytes && len(b.Records) < splitRecords {
		return nil
	}
	return f.flush(ctx)
}

// filling returns the batch to put a record into.
func (f *openFile) filling() *fileBatch {
	if f.batch == nil {
		f.batch = f.buffers.batch()
	}
	return f.batch
}

// addLarge ends the batch with the record, which keeps the splitter's buffer; the splitter
// gets another.
func (f *openFile) addLarge(ctx context.Context, at state.Source, record []byte) error {
	b := f.filling()
	b.Records = append(b.Records, play.Record{At: at, Value: record})
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
func (f *openFile) end(ctx context.Context, at state.Source, err error) error {
	reason, bad := badFile(err)
	if !bad && err != io.EOF {
		return cmp.Or(f.flush(ctx), err)
	}
	r := f.reader
	return f.give(ctx, func() {
		if bad {
			r.tally.bad(r.console, at, -1, reason, err.Error())
		}
		r.tally.files++
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
