package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"trailhound/consumer"
	"trailhound/rules"
)

// replayOut writes the alerts of a replay: to a file, a topic, or otherwise, unless alerts
// are compared, to stdout.
type replayOut struct {
	lines    *alertWriter // nil: no lines are written
	file     *os.File     // temporary, beside path; nil: none
	path     string
	producer *producer // nil: none
	appID    string    // for the headers of records
}

func (r *replaying) newOut(ctx context.Context) (o *replayOut, err error) {
	o = &replayOut{path: r.flags.out, appID: r.setup.AppID}
	switch {
	case o.path != "":
		if err := o.create(); err != nil {
			return nil, err
		}
		o.lines = newAlertWriter(r.app, o.file, r.console, false, true)
	case r.flags.topic == "" && r.diff == nil:
		o.lines = newAlertWriter(r.app, r.app.stdout, r.console, r.app.stdoutTerminal, r.flags.json)
	}
	if r.flags.topic != "" {
		if o.producer, err = newProducer(ctx, r.client, r.flags.topic, r.setup); err != nil {
			return nil, o.end(err)
		}
	}
	return o, nil
}

// outError names the directory, or the file of --out, instead of the temporary file.
func outError(path string, err error) error {
	if dir := filepath.Dir(path); errors.Is(err, fs.ErrNotExist) {
		return usagef("--out %s: there is no directory %s", printable(path), printable(dir))
	}
	wrong := unusable(err)
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	err = fmt.Errorf("--out %s: %w", printable(path), err)
	if wrong {
		return usagef("%s", err)
	}
	return err
}

// create makes the temporary file, with the mode of an existing file. If path is a link, it
// writes beside the target and the link stays.
func (o *replayOut) create() error {
	if target, err := filepath.EvalSymlinks(o.path); err == nil {
		o.path = target
	}
	there, err := os.Lstat(o.path)
	exists := err == nil
	if exists && !there.Mode().IsRegular() {
		return usagef("--out %s: it is not a file", o.path)
	}
	if o.file, err = os.CreateTemp(filepath.Dir(o.path), filepath.Base(o.path)+".part-*"); err == nil && exists {
		err = o.file.Chmod(there.Mode().Perm())
	}
	if err != nil {
		return o.end(outError(o.path, err))
	}
	return nil
}

func (o *replayOut) write(alert *rules.Alert) error {
	if o.producer != nil {
		err := o.producer.add([]byte(alert.Dedup), alert.Payload, consumer.AlertHeaders(alert, o.appID, version())...)
		if large, ok := errors.AsType[*tooLargeError](err); ok {
			return fmt.Errorf("alert %s makes a record of %d bytes, and topic %s takes %d: raise its max.message.bytes, or let alerts leave out more with --set limits.max_alert_bytes=SIZE",
				alert.ID, large.size, large.topic, large.most)
		}
		if err != nil {
			return fmt.Errorf("write an alert to topic %s: %w", o.producer.topic, err)
		}
	}
	if o.lines == nil {
		return nil
	}
	return o.lines.write(alert)
}

// flush writes out the buffered lines.
func (o *replayOut) flush() error {
	if o.lines == nil {
		return nil
	}
	return o.lines.w.Flush()
}

// end writes the rest and renames the temporary file to path; after a failure it removes
// the file.
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
