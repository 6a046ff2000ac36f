package state

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// damageMark is a file that tells the next Open that the directory's content is
// damaged, and why.
const damageMark = "DAMAGED"

// errNewer says that a newer build has written the directory. That is no damage.
var errNewer = errors.New("run the build that wrote it, or remove the directory and let the changelog restore it")

// errOlder says that an older build has written the directory in a way that this one
// does not read. There is nothing to convert: the changelog has all of it.
var errOlder = errors.New("an older build has written it")

// FailedError says why a Store can be used no more. Its sentence names the way out.
type FailedError struct {
	Dir     string
	Damaged bool // the directory cannot be trusted: the next Open deletes it
	Cause   error
}

func (e *FailedError) Error() string {
	switch {
	case e.Damaged:
		return fmt.Sprintf("%s is damaged (%v): start the instance again, it deletes what is there and restores it from the changelog", e.Dir, e.Cause)
	case errors.Is(e.Cause, ErrFormat):
		return fmt.Sprintf("%s holds what a newer build has written: %v", e.Dir, e.Cause)
	case errors.Is(e.Cause, syscall.ENOSPC) || errors.Is(e.Cause, syscall.EDQUOT):
		return fmt.Sprintf("the disk of %s is full (%v): make space or name a directory on another disk, and start the instance again; it goes on where it stopped", e.Dir, e.Cause)
	}
	return fmt.Sprintf("%s cannot be used any more (%v): see to the disk, and start the instance again; it goes on where it stopped", e.Dir, e.Cause)
}

func (e *FailedError) Unwrap() error { return e.Cause }

// isDamage separates damage of the directory's files from every other error that keeps a
// database from being opened, read or written: no permission, no space, a lock that another
// process has, a newer format. An error that carries no errno of the operating system is
// damage, as Pebble marks only some of its findings as such. A file that is missing, or
// that the disk cannot read any more, is damage too.
func isDamage(err error) bool {
	if errors.Is(err, errNewer) || errors.Is(err, ErrFormat) || errors.Is(err, ErrStalled) {
		return false
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.EIO) || pebble.IsCorruptionError(err) {
		return true
	}
	_, system := errors.AsType[syscall.Errno](err)
	return !system
}

// failure is the first thing that has gone wrong with a database for good.
// Pebble reports from any goroutine and with its locks held, so that nothing
// here may use the database.
type failure struct {
	dir  string
	fs   vfs.FS
	once sync.Once
	is   chan struct{} // closed: err is set
	err  *FailedError
}

func newFailure(dir string, fs vfs.FS) *failure {
	return &failure{dir: dir, fs: fs, is: make(chan struct{})}
}

// report notes a failure, and marks the directory if it is damage. A mark that cannot be
// written is no loss: the next process to meet the damage writes it.
func (f *failure) report(cause error) {
	f.once.Do(func() {
		f.err = &FailedError{Dir: f.dir, Damaged: isDamage(cause), Cause: cause}
		if f.err.Damaged {
			_ = mark(f.fs, f.dir, cause.Error())
		}
		close(f.is)
	})
}

func (f *failure) get() error {
	select {
	case <-f.is:
		return f.err
	default:
		return nil
	}
}

func mark(fs vfs.FS, dir, reason string) error {
	file, err := fs.Create(fs.PathJoin(dir, damageMark), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = io.WriteString(file, reason)
	return errors.Join(err, file.Sync(), file.Close())
}

// marked gives the reason why an earlier Store has marked the directory.
func marked(fsys vfs.FS, dir string) (reason string, ok bool) {
	file, err := fsys.Open(fsys.PathJoin(dir, damageMark))
	if errors.Is(err, fs.ErrNotExist) {
		return "", false
	}
	if err != nil {
		return err.Error(), true
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, 4<<10))
	if len(text) == 0 {
		return fmt.Sprintf("an earlier run found it so (%v)", err), true
	}
	return string(bytes.ToValidUTF8(text, []byte("?"))), true
}

// wipe deletes the files of a damaged database and no others, as the configuration may name
// the wrong directory. Nothing is moved aside: the changelog has all of it, a copy could
// not be repaired, and copies would fill the disk. The mark goes last, so that an
// interrupted wipe is begun again.
func wipe(fs vfs.FS, dir, reason string) error {
	_ = mark(fs, dir, reason) // a full disk must not prevent the deletion
	names, err := fs.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if isPebbles(name) {
			if err := fs.Remove(fs.PathJoin(dir, name)); err != nil {
				return err
			}
		}
	}
	return ignoreMissing(fs.Remove(fs.PathJoin(dir, damageMark)))
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// isPebbles tells whether a file of this name is part of a database. The lock is
// not: it is held.
func isPebbles(name string) bool {
	for _, prefix := range []string{"MANIFEST-", "OPTIONS-", "marker.", "temporary.", "CURRENT"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	number, kind, _ := strings.Cut(name, ".")
	return strings.Trim(number, "0123456789-") == "" && number != "" && (kind == "sst" || kind == "log" || kind == "blob")
}
