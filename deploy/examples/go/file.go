package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/twmb/franz-go/pkg/kgo"
)

// schema is the form of alerts that this program knows.
const schema = "trailhound.alert.v1"

// alert holds the members that this program reads, or the headers and the value
// of an alert that it cannot read.
type alert struct {
	Schema     string `json:"schema"`
	ID         string `json:"id"`
	RuleID     string `json:"rule_id,omitempty"`
	Severity   string `json:"severity,omitempty"`
	Unreadable []byte `json:"unreadable,omitempty"` // the value as it came
}

// readAlert returns the alert in a record, as a line for the file.
//
// The event inside is hostile, and can be nested deeper than encoding/json goes
// (10,000). It must not hide its alert: the headers identify that.
func readAlert(r *kgo.Record) (id string, line []byte, err error) {
	var al alert
	line = r.Value
	if json.Unmarshal(r.Value, &al) != nil {
		for _, h := range r.Headers {
			switch h.Key {
			case "schema":
				al.Schema = string(h.Value)
			case "alert_id":
				al.ID = string(h.Value)
			case "rule_id":
				al.RuleID = string(h.Value)
			case "severity":
				al.Severity = string(h.Value)
			}
		}
		al.Unreadable = r.Value
		if line, err = json.Marshal(al); err != nil {
			return "", nil, err
		}
	}
	if al.Schema != schema || al.ID == "" {
		return "", nil, fmt.Errorf("topic %s partition %d offset %d: not an alert of the form %s", r.Topic, r.Partition, r.Offset, schema)
	}
	return al.ID, line, nil
}

// alertFile is a file of alerts, one a line, and the ids of the newest of them.
type alertFile struct {
	file  *os.File
	known map[string]bool
	order []string // the ids that are known, a ring
	next  int      // place in order that the next id takes
}

// openFile opens the file, and learns the ids in it. A last line that is cut off
// was never committed: it is taken away, and its alert comes again.
func openFile(name string, remember int) (*alertFile, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	a := &alertFile{file: f, known: make(map[string]bool), order: make([]string, remember)}
	whole, err := a.learn(bufio.NewReader(f))
	if err == nil {
		err = f.Truncate(whole)
	}
	if err == nil {
		_, err = f.Seek(whole, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read the alerts in %s: %w", name, err), f.Close())
	}
	return a, nil
}

// learn returns how many bytes the whole lines have.
func (a *alertFile) learn(r *bufio.Reader) (whole int64, err error) {
	for {
		line, err := r.ReadBytes('\n')
		if err == io.EOF {
			return whole, nil
		}
		if err != nil {
			return whole, err
		}
		var al alert
		if err := json.Unmarshal(line, &al); err != nil {
			return whole, fmt.Errorf("at byte %d: %w", whole, err)
		}
		a.remember(al.ID)
		whole += int64(len(line))
	}
}

func (a *alertFile) remember(id string) {
	delete(a.known, a.order[a.next])
	a.order[a.next] = id
	a.known[id] = true
	a.next = (a.next + 1) % len(a.order)
}

// take appends the alerts that are new. When it returns they are on the disk.
func (a *alertFile) take(records []*kgo.Record, stderr io.Writer) error {
	var lines bytes.Buffer
	for _, r := range records {
		id, line, err := readAlert(r)
		if err != nil { // must not stop the alerts behind it
			fmt.Fprintln(stderr, err)
			continue
		}
		if a.known[id] {
			continue
		}
		if err := json.Compact(&lines, line); err != nil {
			return err
		}
		lines.WriteByte('\n')
		a.remember(id)
	}
	if lines.Len() == 0 {
		return nil
	}
	if _, err := a.file.Write(lines.Bytes()); err != nil {
		return err
	}
	return a.file.Sync()
}

func (a *alertFile) close() error { return a.file.Close() }
