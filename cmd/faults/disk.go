package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// loopDisk is an ext4 file system of its own, on a loop device, that can be frozen: calls that write to it do not return
// until it is thawed. Only root may have one.
type loopDisk struct {
	dir   string // where it is mounted
	guard *exec.Cmd
	alive io.Closer // its end lets the guard thaw and detach
}

// loopDiskSize is the size of the file system; its image is sparse.
const loopDiskSize = 2 << 30

// guardScript ends when its standard input does, that is with close or with the process that has started it, however that
// has ended. The loop device goes with the last use of the file system.
const guardScript = `trap '' INT TERM HUP; cat >/dev/null
fsfreeze --unfreeze "$1" 2>/dev/null
umount "$1" 2>/dev/null || umount --lazy "$1"`

// newLoopDisk makes and mounts a file system; its image and its mount point are in dir. An error is one sentence.
func newLoopDisk(dir string) (*loopDisk, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("only root may mount a loop device")
	}
	image, at := filepath.Join(dir, "disk.img"), filepath.Join(dir, "disk")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		return nil, err
	}
	if err := os.Truncate(image, loopDiskSize); err != nil {
		return nil, err
	}
	if err := os.Mkdir(at, 0o700); err != nil {
		return nil, err
	}
	if err := command("mkfs.ext4", "-q", image); err != nil {
		return nil, err
	}
	d := &loopDisk{dir: at, guard: exec.Command("sh", "-c", guardScript, "guard", at)}
	d.guard.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt from the terminal is not for it
	alive, err := d.guard.StdinPipe()
	if err == nil {
		err = d.guard.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("start what thaws the disk in the end: %w", err)
	}
	d.alive = alive
	if err := command("mount", "-o", "loop", image, at); err != nil {
		_ = d.close() // there is nothing to unmount
		return nil, err
	}
	if err := errors.Join(d.freeze(), d.thaw()); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

// freeze returns when the file system is frozen.
func (d *loopDisk) freeze() error { return command("fsfreeze", "--freeze", d.dir) }

// thaw lets all calls go on. It is an error if the disk is not frozen.
func (d *loopDisk) thaw() error { return command("fsfreeze", "--unfreeze", d.dir) }

// close thaws, unmounts and detaches. It may be called again, and on nil.
func (d *loopDisk) close() error {
	if d == nil || d.guard.ProcessState != nil {
		return nil
	}
	d.alive.Close() // which is all that the guard waits for
	if err := d.guard.Wait(); err != nil {
		return fmt.Errorf("unmount %s: %w", d.dir, err)
	}
	return nil
}

// command runs a tool. The error has the tool's output.
func command(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, strings.Join(strings.Fields(string(out)), " "))
	}
	return nil
}
