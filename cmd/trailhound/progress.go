package main

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// console is stderr while a command works: lines of text, with a progress bar below them on
// a terminal. It is safe for concurrent use.
type console struct {
	mu  sync.Mutex
	w   io.Writer
	bar *progressbar.ProgressBar // nil: no bar
}

// newConsole returns the console of a command that has total bytes to read; -1: unknown.
func (a *app) newConsole(what string, total int64) *console {
	return a.consoleOf(what, total, progressbar.OptionShowBytes(true), progressbar.OptionUseIECUnits(true))
}

// recordConsole returns the console of a command that has total records to read.
func (a *app) recordConsole(what string, total int64) *console {
	return a.consoleOf(what, total, progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("records"))
}

func (a *app) consoleOf(what string, total int64, unit ...progressbar.Option) *console {
	c := &console{w: a.stderr}
	if a.stderrTerminal {
		c.bar = progressbar.NewOptions64(total, append(unit,
			progressbar.OptionSetWriter(a.stderr),
			progressbar.OptionSetDescription(what),
			progressbar.OptionFullWidth(),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionClearOnFinish(),
		)...)
	}
	return c
}

// advance moves the bar by n bytes.
func (c *console) advance(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bar != nil {
		_ = c.bar.Add(n) // failing to draw is no reason to stop
	}
}

// printf writes one line above the bar, made printable.
func (c *console) printf(format string, args ...any) {
	c.above(func() { fmt.Fprintln(c.w, printable(fmt.Sprintf(format, args...))) })
}

// above runs write, which may write to the same terminal, with the bar out of the way.
func (c *console) above(write func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bar != nil {
		_ = c.bar.Clear()
	}
	write()
}

// close removes the bar; lines may still be written.
func (c *console) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bar != nil {
		_ = c.bar.Clear()
		_ = c.bar.Exit()
		c.bar = nil
	}
}

// consoleLog writes log lines to the console.
type consoleLog struct{ *console }

// Write writes one line above the bar.
func (l consoleLog) Write(line []byte) (n int, err error) {
	l.above(func() { n, err = l.w.Write(line) })
	return n, err
}
