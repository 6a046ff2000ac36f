package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"trailhound/consumer"
	"trailhound/rules"
)

// replayOut is where the alerts of a replay go: to a file, a topic, or else, if nothing is compared, to stdout.
type replayOut struct {
	lines    *alertWriter // nil: none are written
	file     *os.File     // temporary, beside path; nil: none
	path     string
	producer *producer // nil: none
}

func (r *replaying) newOut(ctx context.Context) (o *replayOut, err error) {
	o = &replayOut{path: r.flags.out}
	switch {
	case o.path != "":
		if info, err := os.Stat(o.path); err == nil && !info.Mode().IsRegular() {
			return nil, usagef("--out %s: it is not a file", o.path)
		}
		if o.file, err = os.CreateTemp(filepath.Dir(o.path), filepath.Base(o.path)+".part-*"); err != nil {
			return nil, fmt.Errorf("--out: %w", pathError(err))
		}
		o.lines = r.lineWriter(o.file, false)
	case r.flags.topic == "" && r.diff == nil:
		o.lines = r.lineWriter(r.stdout, r.stdoutTerminal)
	}
	if r.flags.topic != "" {
		if o.producer, err = newProducer(ctx, r.client, r.flags.topic, r.settings); err != nil {
			return nil, o.end(err)
		}
	}
	return o, nil
}

func (r *replaying) lineWriter(w io.Writer, terminal bool) *alertWriter {
	return &alertWriter{w: bufio.NewWriterSize(w, 64<<10), console: r.console, terminal: terminal}
}

func (o *replayOut) write(alert *rules.Alert) error {
	if o.producer != nil {
		if err := o.producer.add([]byte(alert.Dedup), alert.Payload, consumer.AlertHeaders(alert)...); err != nil {
			return fmt.Errorf("write an alert to topic %s: %w", o.producer.topic, err)
		}
	}
	if o.lines == nil {
		return nil
	}
	return o.lines.write(alert)
}

// flush writes out what is buffered.
func (o *replayOut) flush() error {
	if o.lines == nil {
		return nil
	}
	return o.lines.w.Flush()
}

// end writes the rest and, unless failed, makes the file appear; else it leaves none.
func (o *replayOut) end(failed error) error {
	err := cmp.Or(failed, o.flush())
	if o.producer != nil {
		if cause := o.producer.close(); err == nil && cause != nil {
			err = fmt.Errorf("write alerts to topic %s: %w", o.producer.topic, cause)
		}
	}
	if o.file == nil {
		return err
	}
	closed := o.file.Close()
	if err = cmp.Or(err, closed); err == nil {
		err = os.Rename(o.file.Name(), o.path)
	}
	if err == nil {
		return nil
	}
	return errors.Join(pathError(err), os.Remove(o.file.Name()))
}
