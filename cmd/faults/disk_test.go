package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func testDisk(t *testing.T) *loopDisk {
	t.Helper()
	if os.Geteuid() != 0 {
		if _, err := newLoopDisk(t.TempDir()); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("newLoopDisk = %v; want one sentence", err)
		}
		t.Skip("only root may mount a loop device")
	}
	d, err := newLoopDisk(t.TempDir())
	if err != nil {
		t.Skipf("this machine lets nobody mount and freeze a loop device: %v", err)
	}
	t.Cleanup(func() {
		if err := d.close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func mounted(t *testing.T, dir string) bool {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(text), " "+dir+" ")
}

// A write to a frozen disk returns when it is thawed, and not before.
func TestLoopDiskFreezes(t *testing.T) {
	d := testDisk(t)
	if err := d.freeze(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- os.WriteFile(filepath.Join(d.dir, "file"), []byte("text"), 0o600) }()
	select {
	case err := <-done:
		t.Errorf("WriteFile = %v on a frozen disk; want no return", err)
	case <-time.After(300 * time.Millisecond):
	}
	if err := d.thaw(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("WriteFile = %v after the thaw; want nil", err)
	}
}

// However a run ends: the guard thaws, unmounts and detaches, also while a process waits for the disk.
func TestLoopDiskCloses(t *testing.T) {
	d := testDisk(t)
	if err := d.freeze(); err != nil {
		t.Fatal(err)
	}
	writer := exec.Command("sh", "-c", `echo text > "$1"; sleep 60`, "sh", filepath.Join(d.dir, "file"))
	writer.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := writer.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = syscall.Kill(-writer.Process.Pid, syscall.SIGKILL) // it and its sleep
		_ = writer.Wait()
	}()
	_ = d.guard.Process.Signal(syscall.SIGTERM) // which is not for it
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
	if mounted(t, d.dir) {
		t.Errorf("%s is mounted after close", d.dir)
	}
	if err := d.close(); err != nil {
		t.Errorf("close = %v the second time; want nil", err)
	}
}

// A process that ends without closing its frozen disk, by a panic or SIGKILL, leaves none behind.
func TestLoopDiskOfDeadProcess(t *testing.T) {
	if dir := os.Getenv("FAULTS_TEST_DISK"); dir != "" {
		d, err := newLoopDisk(dir)
		if err == nil {
			err = d.freeze()
		}
		if err != nil {
			t.Fatal(err)
		}
		if os.Getenv("FAULTS_TEST_END") == "panic" {
			done := make(chan struct{})
			go func() { panic("as a goroutine of the tool may") }()
			<-done
		}
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	testDisk(t)
	for _, end := range []string{"panic", "kill"} {
		dir := t.TempDir()
		child := exec.Command(os.Args[0], "-test.run=^TestLoopDiskOfDeadProcess$")
		child.Env = append(os.Environ(), "FAULTS_TEST_DISK="+dir, "FAULTS_TEST_END="+end)
		out, err := child.CombinedOutput() // the guard has these too: it has ended when they end
		if _, failed := errors.AsType[*exec.ExitError](err); !failed || strings.Contains(string(out), "--- FAIL") && end == "kill" {
			t.Fatalf("%s: %v: %s", end, err, out)
		}
		image, began := filepath.Join(dir, "disk.img"), time.Now()
		for attached := true; attached || mounted(t, filepath.Join(dir, "disk")); <-time.After(20 * time.Millisecond) {
			if time.Since(began) > 20*time.Second {
				t.Fatalf("%s: the disk is mounted or attached 20 s after the end of the process", end)
			}
			out, err := exec.Command("losetup", "--associated", image).Output()
			if err != nil {
				t.Fatal(err)
			}
			attached = len(out) > 0
		}
	}
}

// A state directory is swapped with one on another file system as with one on its own.
func TestSwapStatesAcrossDisks(t *testing.T) {
	d := testDisk(t)
	a, b := filepath.Join(d.dir, "state"), filepath.Join(t.TempDir(), "state")
	for _, dir := range []string{a, b} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "name"), []byte(dir), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := swapStates(a, b); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{a: b, b: a} {
		if got, err := os.ReadFile(filepath.Join(dir, "name")); string(got) != want || err != nil {
			t.Errorf("%s holds what was in %q, %v; want %q", dir, got, err, want)
		}
	}
}
