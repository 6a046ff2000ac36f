package testbed

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// OutliveReaders lets a write to a pipe without a reader fail with an error, and not end
// the program: that would leave its brokers running, as "bench | head" once did. The
// children get the signal as ever.
func OutliveReaders() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// Process is a child with a log of its own.
type Process struct {
	Cmd   *exec.Cmd
	Log   string // file that holds all it writes
	Begun time.Time
	Done  chan struct{} // closed when it has ended
	Err   error         // how it has ended; not to be read before
}

// Command returns a command line with the caller's environment, less the variables that
// configure a trailhound.
func Command(binary string, args ...string) *exec.Cmd {
	cmd := exec.Command(binary, args...)
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "TRAILHOUND_") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt from the terminal is not for it
	return cmd
}

// Start starts a child that writes to a new file.
func Start(cmd *exec.Cmd, log string) (*Process, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer out.Close() // the child has its own
	cmd.Stdout, cmd.Stderr = out, out
	p := &Process{Cmd: cmd, Log: log, Begun: time.Now(), Done: make(chan struct{})}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.Err = cmd.Wait()
		close(p.Done)
	}()
	return p, nil
}

// Running tells whether the process has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.Done:
		return false
	default:
		return true
	}
}

// Get asks the HTTP server at an address (host:port); an answer other than 200 is an error, with its text.
func Get(ctx context.Context, address, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, http.NoBody)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return string(text), err
}

// Ready returns nil if the instance at an address serves all that is assigned to it, else
// an error with the text of its /readyz.
func Ready(ctx context.Context, address string) error {
	text, err := Get(ctx, address, "/readyz")
	if err != nil && text != "" {
		return errors.New(strings.TrimSpace(text))
	}
	return err
}

// WaitReady returns when the instance is ready, having asked every so often.
func WaitReady(ctx context.Context, address string, every time.Duration) error {
	for {
		err := Ready(ctx, address)
		if err == nil {
			return nil
		}
		if !Sleep(ctx, every) {
			return fmt.Errorf("it is not ready: %w", err)
		}
	}
}

// Metrics returns the metrics at an address by series, as in trailhound_work_lag_records{shard="0"}.
func Metrics(ctx context.Context, address string) (map[string]float64, error) {
	text, err := Get(ctx, address, "/metrics")
	if err != nil {
		return nil, err
	}
	all := make(map[string]float64)
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		line := lines.Text()
		at := strings.LastIndexByte(line, ' ')
		if strings.HasPrefix(line, "#") || at < 0 {
			continue
		}
		if v, err := strconv.ParseFloat(line[at+1:], 64); err == nil {
			all[line[:at]] = v
		}
	}
	return all, nil
}
