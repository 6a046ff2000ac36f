// Package files reads CloudTrail records out of files on disk, members of zip archives and
// standard input, plain or packed by gzip, zstd or bzip2.
//
// [List] finds the files below the paths of a command line, and [Find] the file that an
// alert names; a [File] is one of them. A [Reader] reads several files ahead, and hands on
// their records; a [Batch] is some records of one file. A [PathError] is the error of a file
// that cannot be listed or opened.
//
// Its one guarantee: the batches hold the records that a [cloudtrail.Splitter] finds in the
// unpacked files, in the order of the files, for any number of processors. At most 32 MiB of
// them are held at a time, beside a record that is larger. Damage costs its file the records
// behind it alone, and is reported.
package files

import (
	archivezip "archive/zip"
	"context"
	"io"
	"iter"
	"runtime"
	"time"

	"trailhound/rules/cloudtrail"
)

// File is one file to read records from.
type File struct {
	Name string // the path as given, or found below a directory that was given; "-" is standard input
	Size int64  // bytes on disk; -1: unknown

	time    time.Time        // from a CloudTrail file's name; zero if there is none
	err     error            // why the file cannot be read; nil if no cause is known
	archive *archive         // of which this is a member; nil for a file of its own
	member  *archivezip.File // of archive
}

// Batch is some records of one file, one behind the other.
type Batch struct {
	File    string   // its name
	First   int64    // number of the first record in the file, from 0
	Records [][]byte // as a cloudtrail.Decoder takes them; the elements of a list are records

	// Done ends the use of Records and frees their memory: the caller calls it once, in
	// the order of the batches. Damage behind the records, and the end of the file, are
	// reported by Done.
	Done func()

	data  []byte // memory of the records
	large []byte // memory of the last record, if it is large; else nil
}

// Reader reads records out of files. Every field but MaxRecord is set.
type Reader struct {
	Stdin     io.Reader // the file "-"
	MaxRecord int64     // bytes of a record, cloudtrail.DefaultMaxHeld at most; 0: that

	// Advance counts bytes of the files, of their Size. Several goroutines call it.
	Advance func(n int)

	// Refused reports a record that was passed over because of its size, or the damage of a
	// file that cannot be unpacked further, under the number of the record that it hides.
	Refused func(file string, record int64, reason cloudtrail.Reason, detail string)

	// Ended counts a file that was read to its end, or to its damage.
	Ended func()
}

// Read calls yield for the batches of the files. A batch is the caller's until it calls
// Done. An error of unpacking ends its file; an error of the disk or of yield ends the
// reading, and is returned.
func (r *Reader) Read(ctx context.Context, files []File, yield func(*Batch) error) error {
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
func (r *Reader) begin(ctx context.Context, files []File) <-chan *openFile {
	begun := make(chan *openFile, runtime.GOMAXPROCS(0)-1)
	w, buffers := newWindow(ctx), &buffers{}
	go func() {
		defer close(begun)
		for file := range r.unarchived(ctx, files) {
			f := &openFile{File: file, reader: r, share: share{window: w}, buffers: buffers, full: make(chan *Batch, batchesAhead)}
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
func (r *Reader) unarchived(ctx context.Context, files []File) iter.Seq[File] {
	return func(yield func(File) bool) {
		for _, file := range files {
			members := []File{file}
			if file.member == nil && isZip(&file) {
				found, err := membersOf(ctx, file, r.Advance)
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
