package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// terminal is a pseudo-terminal that keeps all that is written to it.
type terminal struct {
	side *os.File // the program's
	read chan string
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	return terminalOf(t, 80)
}

// terminalOf returns a terminal of so many columns.
func terminalOf(t *testing.T, columns uint16) *terminal {
	t.Helper()
	orSkip := func(err error) {
		t.Helper()
		if err != nil {
			t.Skipf("this machine gives no pseudo-terminal, so nothing can be seen as people see it: %v", err)
		}
	}
	control, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	orSkip(err)
	orSkip(unix.IoctlSetPointerInt(int(control.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(control.Fd()), unix.TIOCGPTN)
	orSkip(err)
	side, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	orSkip(err)
	if err := unix.IoctlSetWinsize(int(side.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns}); err != nil {
		t.Fatal(err)
	}
	term := &terminal{side: side, read: make(chan string)}
	go func() {
		var b bytes.Buffer
		if _, err := io.Copy(&b, control); err != nil && !errors.Is(err, syscall.EIO) { // EIO: the other side is closed
			b.WriteString(err.Error())
		}
		control.Close()
		term.read <- b.String()
	}()
	return term
}

// text closes the program's side and returns the text written to it.
func (t *terminal) text() string {
	t.side.Close()
	return strings.ReplaceAll(<-t.read, "\r\n", "\n")
}

// Text of an event or a file's name never reaches a terminal raw; through a pipe an alert
// is exact.
func TestHostileTextOnTerminal(t *testing.T) {
	t.Chdir(t.TempDir())
	const attack = "\x1b]0;owned\x07\u009b2J\u202eevil"
	name := "bad\x1b[2J.jsonl"
	if err := os.WriteFile(name, []byte(denial(1, attack)+"\x1b[31mjunk\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, errs := newTerminal(t), newTerminal(t)
	code := execute(t.Context(), []string{"detect", "--set", eachDenial, name}, strings.NewReader(""), out.side, errs.side, nil)
	stdout, stderr := out.text(), errs.text()
	if code != exitDone {
		t.Fatalf("run = %d with %q; want 0", code, stderr)
	}
	for _, raw := range []string{"\x1b", "\x07", "\u009b", "\u202e", "\x9b"} {
		if strings.Contains(stdout, raw) {
			t.Errorf("stdout = %q; want no %q in it", stdout, raw)
		}
	}
	for _, raw := range []string{"\x1b]", "\x1b[2J", "\x1b[31m", "\x07", "\u009b", "\u202e"} {
		if strings.Contains(stderr, raw) {
			t.Errorf("stderr = %q; want no %q in it", stderr, raw)
		}
	}
	if want := `bad\x1b[2J.jsonl:1:not_json: `; !strings.Contains(stderr, want) {
		t.Errorf("stderr = %q; want %q in it", stderr, want)
	}
	if want := `\u001b]0;owned\u0007\u009b2J\u202eevil`; !strings.Contains(stdout, want) {
		t.Errorf("stdout = %q; want %q in it", stdout, want)
	}
	if r := command(t.Context(), "", nil, "detect", "--set", eachDenial, name); !strings.Contains(r.stdout, "\u202eevil") {
		t.Errorf("stdout through a pipe = %q; want the event as it came", r.stdout)
	}
}

// The progress bar is for terminals only, and gone at the end.
func TestProgressBar(t *testing.T) {
	file, err := filepath.Abs(filepath.Join(realData, "invictus_aws_dataset.jsonl.gz"))
	if err != nil {
		t.Fatal(err)
	}
	piped := command(t.Context(), "", nil, "detect", file)
	if strings.ContainsAny(piped.stderr, "\r\x1b%") {
		t.Errorf("stderr through a pipe = %q; want no progress bar", piped.stderr)
	}
	var stdout bytes.Buffer
	errs := newTerminal(t)
	code := execute(t.Context(), []string{"detect", file}, strings.NewReader(""), &stdout, errs.side, nil)
	stderr := errs.text()
	if code != exitDone || stdout.String() != piped.stdout {
		t.Errorf("run = %d with %q; want 0, and the results as through a pipe", code, stderr)
	}
	if !strings.Contains(stderr, "%") {
		t.Errorf("stderr on a terminal = %q; want a progress bar", stderr)
	}
	end := stderr[strings.LastIndex(stderr, "\r")+1:]
	if want := "files 1, records 2900, events 2900, matches 26\nalerts: access_denied 1\nskipped: no_key 13\ntook "; !strings.HasPrefix(end, want) {
		t.Errorf("stderr on a terminal ends with %q; want the bar removed, then %q", end, want)
	}
}

// Without arguments a terminal on stdin is not read.
func TestNothingToRead(t *testing.T) {
	in := newTerminal(t)
	defer in.text()
	var stderr bytes.Buffer
	code := execute(t.Context(), []string{"detect"}, in.side, io.Discard, &stderr, nil)
	if want := "trailhound: nothing to read; name files or directories, or - for standard input\n"; code != exitUsage || stderr.String() != want {
		t.Errorf("run = %d with %q; want 2 with %q", code, stderr.String(), want)
	}
}
