package testbed

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
)

// "bench | head" left a broker behind: the write to the pipe ended the program before it
// had cleaned up.
func TestOutliveReaders(t *testing.T) {
	const child, outlives = "TRAILHOUND_TEST_CHILD", "reaches its end"
	if os.Getenv(child) != "" {
		OutliveReaders()
		_, _ = io.ReadAll(os.Stdin) // until the reader of stdout is gone
		_, err := fmt.Fprintln(os.Stdout, "a line")
		fmt.Fprintln(os.Stderr, outlives, err)
		os.Exit(0)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestOutliveReaders$")
	cmd.Env = append(os.Environ(), child+"=1")
	hold, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for _, f := range []io.Closer{w, r, hold} {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	got, err := io.ReadAll(said)
	if err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil || string(got) != outlives+" write /dev/stdout: broken pipe\n" {
		t.Errorf("the child ends with %v and says %q; want no error, and that it %s", err, got, outlives)
	}
}
