package main

import (
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"trailhound/cmd/internal/testbed"
)

// An instance that met SIGTERM 12 ms after its start, before it caught signals, was reported
// as one that had ended by itself, and failed the run.
func TestEndedAtBirth(t *testing.T) {
	for script, want := range map[string]bool{
		"kill -TERM $$":            true,
		"echo word; kill -TERM $$": false,
		"kill -KILL $$":            false,
		"exit 1":                   false,
	} {
		child, err := testbed.Start(exec.Command("sh", "-c", script), filepath.Join(t.TempDir(), "log"))
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-child.Done:
		case <-time.After(time.Minute):
			t.Fatalf("%q runs after a minute", script)
		}
		p := &process{Process: child}
		if got := p.endedAtBirth(); got != want {
			t.Errorf("endedAtBirth() = %t after %q; want %t", got, script, want)
		}
	}
}
