package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/klauspost/compress/gzip"

	"trailhound/cmd/internal/testbed"
)

const (
	fileBytes = 50_000_000 // of JSON in a file
)

// detect is the mode that measures how fast trailhound detect reads files.
func (b *bench) detect(ctx context.Context) error {
	dir := filepath.Join(b.dir, "files")
	if err := os.Mkdir(dir, 0o750); err != nil {
		return err
	}
	total := int64(b.megabytes) * 1e6
	events, size, packed, err := writeFiles(ctx, dir, b.mix, total)
	if err != nil {
		return err
	}
	b.say("%s events are in files: %s MB, %s MB as gzip", figure(events).text(0), figure(float64(size)/1e6).text(0), figure(float64(packed)/1e6).text(0))
	t := newTable(fmt.Sprintf("\ntrailhound detect: %s events, %s MB of JSON in gzip files", figure(events).text(0), figure(float64(size)/1e6).text(0)),
		"run", "MB/s of JSON", "events/s", "CPU s per 1 M", "peak MB", "alerts")
	var first answer
	var rates, speeds []figure
	for run := range b.runs {
		b.quiet(ctx)
		d, err := b.detectOnce(ctx, dir)
		if err != nil {
			return err
		}
		if run == 0 {
			first = d.answer
		}
		if d.answer != first {
			return fmt.Errorf("WRONG ALERTS: run %d found %d, the first %d, in the same files", run+1, d.count, first.count)
		}
		rate, speed := figure(float64(events)/d.took.Seconds()), figure(float64(size)/1e6/d.took.Seconds())
		cpu := d.cpu / figure(events) * 1e6
		rates, speeds = append(rates, rate), append(speeds, speed)
		b.say("run %d: %s MB/s of JSON", run+1, speed.text(0))
		t.row(fmt.Sprint(run+1), speed.text(0), rate.text(0), cpu.text(2), d.peak.text(0), fmt.Sprint(d.count))
		if err := b.record("detect", map[string]any{
			"run": run + 1, "mb_per_s": speed, "events_per_s": rate, "cpu_s_per_million": cpu, "peak_rss_mb": d.peak, "alerts": d.count, "events": events,
		}); err != nil {
			return err
		}
	}
	t.row("median", median(speeds).text(0), median(rates).text(0), "", "", "")
	return t.write(b.stdout)
}

// detection is one run of "trailhound detect".
type detection struct {
	answer
	took time.Duration
	cpu  figure // seconds
	peak figure // MB
}

func (b *bench) detectOnce(ctx context.Context, dir string) (d detection, err error) {
	cmd := testbed.Command(b.binary, append(append([]string{"detect"}, b.sets.args()...), dir)...)
	log := filepath.Join(b.dir, "detect.log")
	words, err := os.Create(log)
	if err != nil {
		return d, err
	}
	defer words.Close()
	cmd.Stderr = words
	out, err := cmd.StdoutPipe()
	if err != nil {
		return d, err
	}
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return d, err
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() }) // it may have ended
	defer stop()
	found := &oracle{}
	err = found.read(out)
	_, rest := io.Copy(io.Discard, out) // after a failed read the child would block for ever on a full pipe
	if err := errors.Join(err, rest, cmd.Wait()); err != nil {
		return d, fmt.Errorf("trailhound detect: %w", errors.Join(err, context.Cause(ctx)))
	}
	d = detection{answer: found.answer, took: time.Since(begun), cpu: unknown, peak: unknown}
	d.cpu = figure((cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds())
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok && runtime.GOOS == "linux" { // elsewhere its unit is another
		d.peak = figure(float64(usage.Maxrss) * 1024 / 1e6)
	}
	return d, nil
}

// writeFiles writes so many bytes of events into gzip files, an event a line. It returns the number of events, their
// bytes, and those of the files.
func writeFiles(ctx context.Context, dir string, m mix, total int64) (events int, size, packed int64, err error) {
	g := newGenerator(m)
	for n := 0; size < total && err == nil; n++ {
		var one int
		var plain int64
		name := filepath.Join(dir, fmt.Sprintf("events-%03d.jsonl.gz", n))
		one, plain, err = writeFile(ctx, name, g, events, min(fileBytes, total-size))
		events, size = events+one, size+plain
		if info, statErr := os.Stat(name); statErr == nil {
			packed += info.Size()
		}
	}
	return events, size, packed, err
}

// writeFile writes one gzip file, beginning with the event of that number.
func writeFile(ctx context.Context, name string, g *generator, number int, total int64) (events int, size int64, err error) {
	f, err := os.Create(name)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	buffered := bufio.NewWriterSize(f, 1<<20)
	zipped := gzip.NewWriter(buffered)
	for ; size < total && err == nil; events++ {
		e := g.next(firstTime.Add(time.Duration(number+events) * 4 * time.Millisecond)) // 5 M events are about as long as usualSpan
		_, err = zipped.Write(append(e.value, '\n'))
		size += int64(len(e.value)) + 1
		if ctx.Err() != nil {
			return events, size, context.Cause(ctx)
		}
	}
	return events, size, errors.Join(err, zipped.Close(), buffered.Flush(), f.Close())
}
