package state

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// DefaultStall is the default of Options.Stall.
const DefaultStall = 30 * time.Second

// ErrStalled says that a call to the disk has not returned within Options.Stall. The
// goroutine that made it may hold locks of the database for ever: only the end of the
// process helps.
var ErrStalled = errors.New("the disk does not answer")

// disk watches the calls to a file system. A call notes the number of the last look at
// its start and clears it at its end, so that neither reads a clock; a look that finds
// the same call again and again has found one that does not return. A process that was
// stopped, or a machine that slept, has had no looks meanwhile.
type disk struct {
	vfs.FS
	limit time.Duration // of one call
	look  atomic.Int64  // number of the look to come, from 1
	next  atomic.Uint32 // where to begin the search for a free slot
	slots [callSlots]diskCall

	stuck   chan struct{} // closed: err is set
	err     error
	ended   chan struct{} // closed at the end of the watch
	endOnce sync.Once
}

// diskCall is one call under way.
type diskCall struct {
	since atomic.Int64 // look at its start; 0: the slot is free
	what  atomic.Pointer[string]
	on    atomic.Pointer[string]
}

// watchDisk begins to watch the calls to fs until end is called.
func watchDisk(fs vfs.FS, limit time.Duration) *disk {
	d := &disk{FS: fs, limit: limit, stuck: make(chan struct{}), ended: make(chan struct{})}
	d.look.Store(1)
	go d.run()
	return d
}

func (d *disk) run() {
	tick := time.NewTicker(d.limit / looksPerStall) //nolint:forbidigo // how long the disk takes is no part of any answer
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-d.ended:
			return
		}
		d.look.Add(1)
		if call := d.oldest(looksPerStall); call != "" {
			d.err = fmt.Errorf("%w: %s", ErrStalled, call)
			close(d.stuck)
			return
		}
	}
}

// within calls fn, and leaves it behind when the disk does not answer.
func (d *disk) within(fn func() error) error {
	done := make(chan error, 1)
	go func() { done <- fn() }()
	select {
	case err := <-done:
		return err
	case <-d.stuck:
		return d.err
	}
}

func (d *disk) end() { d.endOnce.Do(func() { close(d.ended) }) }

// oldest describes the call that has been under way for longest; "": none has for so many
// looks.
func (d *disk) oldest(looks int64) string {
	now, found, most := d.look.Load(), (*diskCall)(nil), looks-1
	for i := range d.slots {
		c := &d.slots[i]
		if since := c.since.Load(); since > 0 && now-since > most {
			found, most = c, now-since
		}
	}
	if found == nil {
		return ""
	}
	what, on := found.what.Load(), found.on.Load()
	if what == nil || on == nil {
		return ""
	}
	took := time.Duration(most) * d.limit / looksPerStall
	return fmt.Sprintf("%s %s has not returned for %s", *what, *on, took)
}

// begin notes the start of a call. With more calls at a time than there are slots the
// rest is not watched: a disk that hangs is found by those that are.
func (d *disk) begin(what, on *string) *diskCall {
	now := d.look.Load()
	first := d.next.Add(1)
	for i := range uint32(callSlots) {
		c := &d.slots[(first+i)%callSlots]
		if c.since.CompareAndSwap(0, now) {
			c.what.Store(what)
			c.on.Store(on)
			return c
		}
	}
	return nil
}

func (c *diskCall) end() {
	if c != nil {
		c.since.Store(0)
	}
}

// The names of the calls to the disk, for the sentences of errors.
var (
	callApply, callRead, callWrite, callSync, callStat, callClose           = "write of", "read of", "write of", "sync of", "stat of", "close of"
	callCreate, callOpen, callRemove, callRename, callLink, callMake        = "create of", "open of", "removal of", "rename of", "link of", "creation of directory"
	callList, callUsage, callLock, callReserve, callRemoveAll, callPrefetch = "listing of", "space of", "lock of", "preallocation of", "removal of", "prefetch of"
)

// Unwrap is of vfs.FS.
func (d *disk) Unwrap() vfs.FS { return d.FS }

// file watches the calls to an open file.
func (d *disk) file(f vfs.File, name string, err error) (vfs.File, error) {
	if err != nil {
		return f, err
	}
	base := d.PathBase(name)
	return &diskFile{File: f, disk: d, name: &base}, nil
}

func (d *disk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	defer d.begin(&callCreate, &name).end()
	f, err := d.FS.Create(name, c)
	return d.file(f, name, err)
}

func (d *disk) Open(name string, o ...vfs.OpenOption) (vfs.File, error) {
	defer d.begin(&callOpen, &name).end()
	f, err := d.FS.Open(name, o...)
	return d.file(f, name, err)
}

func (d *disk) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	defer d.begin(&callOpen, &name).end()
	f, err := d.FS.OpenReadWrite(name, c, o...)
	return d.file(f, name, err)
}

func (d *disk) OpenDir(name string) (vfs.File, error) {
	defer d.begin(&callOpen, &name).end()
	f, err := d.FS.OpenDir(name)
	return d.file(f, name, err)
}

func (d *disk) ReuseForWrite(was, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	defer d.begin(&callCreate, &name).end()
	f, err := d.FS.ReuseForWrite(was, name, c)
	return d.file(f, name, err)
}

func (d *disk) Link(was, name string) error {
	defer d.begin(&callLink, &name).end()
	return d.FS.Link(was, name)
}

func (d *disk) Remove(name string) error {
	defer d.begin(&callRemove, &name).end()
	return d.FS.Remove(name)
}

func (d *disk) RemoveAll(name string) error {
	defer d.begin(&callRemoveAll, &name).end()
	return d.FS.RemoveAll(name)
}

func (d *disk) Rename(was, name string) error {
	defer d.begin(&callRename, &name).end()
	return d.FS.Rename(was, name)
}

func (d *disk) MkdirAll(name string, perm os.FileMode) error {
	defer d.begin(&callMake, &name).end()
	return d.FS.MkdirAll(name, perm)
}

func (d *disk) Lock(name string) (io.Closer, error) {
	defer d.begin(&callLock, &name).end()
	return d.FS.Lock(name)
}

func (d *disk) List(name string) ([]string, error) {
	defer d.begin(&callList, &name).end()
	return d.FS.List(name)
}

func (d *disk) Stat(name string) (vfs.FileInfo, error) {
	defer d.begin(&callStat, &name).end()
	return d.FS.Stat(name)
}

func (d *disk) GetDiskUsage(name string) (vfs.DiskUsage, error) {
	defer d.begin(&callUsage, &name).end()
	return d.FS.GetDiskUsage(name)
}

// diskFile is an open file with calls that are watched.
type diskFile struct {
	vfs.File

	disk *disk
	name *string
}

func (f *diskFile) Read(p []byte) (int, error) {
	defer f.disk.begin(&callRead, f.name).end()
	return f.File.Read(p)
}

func (f *diskFile) ReadAt(p []byte, at int64) (int, error) {
	defer f.disk.begin(&callRead, f.name).end()
	return f.File.ReadAt(p, at)
}

func (f *diskFile) Write(p []byte) (int, error) {
	defer f.disk.begin(&callWrite, f.name).end()
	return f.File.Write(p)
}

func (f *diskFile) WriteAt(p []byte, at int64) (int, error) {
	defer f.disk.begin(&callWrite, f.name).end()
	return f.File.WriteAt(p, at)
}

func (f *diskFile) Preallocate(at, n int64) error {
	defer f.disk.begin(&callReserve, f.name).end()
	return f.File.Preallocate(at, n)
}

func (f *diskFile) Prefetch(at, n int64) error {
	defer f.disk.begin(&callPrefetch, f.name).end()
	return f.File.Prefetch(at, n)
}

func (f *diskFile) Stat() (vfs.FileInfo, error) {
	defer f.disk.begin(&callStat, f.name).end()
	return f.File.Stat()
}

func (f *diskFile) Sync() error {
	defer f.disk.begin(&callSync, f.name).end()
	return f.File.Sync()
}

func (f *diskFile) SyncData() error {
	defer f.disk.begin(&callSync, f.name).end()
	return f.File.SyncData()
}

func (f *diskFile) SyncTo(n int64) (bool, error) {
	defer f.disk.begin(&callSync, f.name).end()
	return f.File.SyncTo(n)
}

func (f *diskFile) Close() error {
	defer f.disk.begin(&callClose, f.name).end()
	return f.File.Close()
}
