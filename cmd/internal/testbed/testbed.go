// Package testbed is shared by the programs that look at trailhound from outside: a binary
// of this checkout, Kafka brokers by deploy/kafka/kafka.sh, processes with a log each, and
// the HTTP endpoints of a running instance. It shares no code with the product.
package testbed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// FindRoot returns the root of the checkout in which the command is run.
func FindRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "deploy", "kafka", "kafka.sh")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("this is not a checkout of trailhound: deploy/kafka/kafka.sh is in no directory above; use go run at the root of one")
		}
	}
}

// MakeDir makes the directory of a run; one that the user names must be empty. Without a
// name it is a temporary one, which has prefix at the beginning of its name.
func MakeDir(name, prefix string) (string, error) {
	if name == "" {
		return os.MkdirTemp("", prefix)
	}
	if err := os.MkdirAll(name, 0o750); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(name)
	if err != nil {
		return "", err
	}
	if len(entries) > 0 {
		return "", fmt.Errorf("%s is not empty; name another directory with --dir", name)
	}
	return filepath.Abs(name)
}

// Build compiles the product of the checkout at root into dir, as a release is compiled,
// and returns the binary. With cgo, Pebble takes memory from the C library, and the arenas
// of that make the process 20 MB larger.
func Build(ctx context.Context, root, dir string) (string, error) {
	binary := filepath.Join(dir, "trailhound")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", binary, "./cmd/trailhound")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./cmd/trailhound: %w: %s", err, out)
	}
	return binary, nil
}

// Kafka runs the script of the checkout at root, deploy/kafka/kafka.sh, with brokers of
// that heap (as in "512m"), and returns its output.
func Kafka(ctx context.Context, root, heap string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(root, "deploy", "kafka", "kafka.sh"), args...)
	cmd.Env = append(os.Environ(), "KAFKA_HEAP="+heap)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt from the terminal is not for the brokers
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("kafka.sh %s: %w: %s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// The ports of a run are below those that the kernel gives to outgoing connections, and above those that kafka.sh picks.
const firstPort, lastPort = 29_000, 32_700

// Reserve returns n listeners at ports in a row.
func Reserve(n int) ([]net.Listener, error) {
	var err error
	for range 1000 {
		var all []net.Listener
		first := firstPort + rand.IntN(lastPort-firstPort-n)
		for p := first; p < first+n && err == nil; p++ {
			var l net.Listener
			if l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p))); err == nil {
				all = append(all, l)
			}
		}
		if err == nil {
			return all, nil
		}
		for _, l := range all {
			l.Close()
		}
		err = nil
	}
	return nil, fmt.Errorf("found no %d free ports in a row between %d and %d", n, firstPort, lastPort)
}

// Sleep waits for d, or until ctx ends, and tells whether d has passed.
func Sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Quantile returns the least value that a share of the values, from 0 to 1, does not
// exceed. There must be at least one.
func Quantile(values []time.Duration, at float64) time.Duration {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[max(0, int(math.Ceil(at*float64(len(sorted))))-1)]
}
