package files

import (
	archivezip "archive/zip"
	"compress/bzip2"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"
)

// maxDirectory bounds the directory of a zip archive, in bytes; in memory it takes up to ten times as much. It has room
// for a hundred thousand of CloudTrail's names.
const maxDirectory = 16 << 20

// archive is an open zip archive; it is closed once its last member is read.
type archive struct {
	file    *os.File
	members atomic.Int32 // not read yet
	forget  func() bool  // drops the closing of the file at the end of ctx; false: it is closed
	advance func(n int)
	listed  atomic.Bool  // the directory was read
	read    atomic.Int64 // bytes of the directory
}

var errDirectory = fmt.Errorf("the directory of the archive is larger than %d MiB", maxDirectory>>20)

// ReadAt counts the bytes for the progress bar, and bounds the directory.
func (z *archive) ReadAt(p []byte, at int64) (int, error) {
	n, err := z.file.ReadAt(p, at)
	z.advance(n)
	if !z.listed.Load() && z.read.Add(int64(n)) > maxDirectory {
		return 0, errDirectory
	}
	return n, err
}

// done is called when a member was read. The last one closes the file.
func (z *archive) done() {
	if z.members.Add(-1) == 0 && z.forget() {
		_ = z.file.Close() // it was only read
	}
}

// isZip tells whether a file begins as a zip archive does. A file that can be read only
// once is left alone.
func isZip(f *File) bool {
	if f.Size < int64(len("PK\x03\x04")) {
		return false
	}
	file, err := os.Open(f.Name)
	if err != nil {
		return false // the reader reports the cause
	}
	defer file.Close()
	var head [4]byte
	_, err = io.ReadFull(file, head[:])
	return err == nil && string(head[:]) == "PK\x03\x04"
}

// membersOf lists the files in a zip archive, in the order in which files are read, without
// directories and hidden files. The archive is closed when all of them are done, or ctx
// ends.
func membersOf(ctx context.Context, f File, advance func(n int)) ([]File, error) {
	file, err := os.Open(f.Name)
	if err != nil {
		return nil, pathError(err, false)
	}
	z := &archive{file: file, advance: advance}
	z.forget = context.AfterFunc(ctx, func() { _ = file.Close() })
	z.members.Store(1)
	members, err := z.list(f)
	if err != nil {
		z.done()
		return nil, &unpackError{reasonCannotUnpack, err}
	}
	z.members.Store(int32(len(members)))
	slices.SortStableFunc(members, compareFiles)
	return members, nil
}

func (z *archive) list(f File) ([]File, error) {
	in, err := archivezip.NewReader(z, f.Size)
	if err != nil && !errors.Is(err, archivezip.ErrInsecurePath) { // no path is opened
		return nil, err
	}
	z.listed.Store(true)
	in.RegisterDecompressor(zstd.ZipMethodWinZip, zstd.ZipDecompressor(zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxZstdWindow)))
	in.RegisterDecompressor(zipBzip2, func(r io.Reader) io.ReadCloser { return io.NopCloser(bzip2.NewReader(r)) })
	var members []File
	for _, m := range in.File {
		if strings.HasSuffix(m.Name, "/") || hiddenMember(m.Name) {
			continue
		}
		members = append(members, File{Name: f.Name + "/" + m.Name, Size: -1, time: timeInName(m.Name), archive: z, member: m})
	}
	if len(members) == 0 {
		return nil, errors.New("the zip archive holds no files")
	}
	return members, nil
}

// The methods of APPNOTE.TXT 4.4.5, and the flag of 4.4.4, for which archive/zip has no
// names.
const (
	zipBzip2     = 12
	zipEncrypted = 0x1
)

// hiddenMember matches the names that a walk of a directory passes over too, and the
// attributes that macOS adds beside each file.
func hiddenMember(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if strings.HasPrefix(part, ".") && part != ".." && part != "." || part == "__MACOSX" {
			return true
		}
	}
	return false
}

// openMember opens one file of an archive.
func openMember(f *File) (io.ReadCloser, error) {
	if f.member.Flags&zipEncrypted != 0 {
		return nil, &unpackError{reasonCannotUnpack, errors.New("the file is encrypted in the archive; unpack it first")}
	}
	r, err := f.member.Open()
	if errors.Is(err, archivezip.ErrAlgorithm) {
		err = fmt.Errorf("the archive has it in a packing that is not read, method %d; unpack it first", f.member.Method)
	}
	if err != nil {
		return nil, &unpackError{reasonCannotUnpack, err}
	}
	return memberReader{r}, nil
}

// memberReader marks errors as those of the archive.
type memberReader struct{ io.ReadCloser }

func (r memberReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = &unpackError{reasonCannotUnpack, err}
	}
	return n, err
}

// Find returns the file that an alert names: a regular file, or a member of a zip archive, by
// the path of the archive followed by its own. An archive stays open until its member is
// read, or ctx ends.
func Find(ctx context.Context, name string) (f File, ok bool) {
	if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
		return newFile(name, info), true
	}
	for i := range len(name) {
		if i == 0 || name[i] != '/' {
			continue
		}
		info, err := os.Stat(name[:i])
		if err != nil {
			return f, false
		}
		if info.Mode().IsRegular() {
			return memberNamed(ctx, newFile(name[:i], info), name)
		}
	}
	return f, false
}

func memberNamed(ctx context.Context, f File, name string) (File, bool) {
	if !isZip(&f) {
		return f, false
	}
	members, err := membersOf(ctx, f, func(int) {})
	if err != nil {
		return f, false
	}
	z := members[0].archive
	z.members.Store(1)
	i := slices.IndexFunc(members, func(m File) bool { return m.Name == name })
	if i < 0 {
		z.done()
		return f, false
	}
	return members[i], true
}
