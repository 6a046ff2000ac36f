package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"trailhound/rules"
	"trailhound/rules/play"
	"trailhound/state"
)

// detectFlags are the flags of detect as they are typed.
type detectFlags struct{ strict, asJSON, reportAll bool }

func detectCommand(a *app) *cobra.Command {
	var f detectFlags
	c := &cobra.Command{
		Use:   "detect [PATH...|-]",
		Short: "Run the rules over files, without Kafka",
		Long: "Run the rules over CloudTrail files, directories of them or standard input, plain or packed by gzip,\n" +
			"zstd, bzip2 or zip, in any envelope. On a terminal alerts are printed for people; through a pipe, or\n" +
			"with --json, as one JSON object a line.\n\n" +
			"Files are read in the order of the times in CloudTrail's file names; files without one come after\n" +
			"those, by path, and those of a zip archive, in the same order, at its place. In an alert's source and\n" +
			"evidence, topic is the file's name and offset the number of the record in the file, from 0. A record\n" +
			"that cannot be evaluated is reported on stderr as FILE:RECORD:REASON, five of each file and reason.\n" +
			"Late events count: events.max_lateness and events.max_ahead hold only when they are given with --set.",
		Example: "  trailhound detect ./cloudtrail\n" +
			"  zcat events.jsonl.gz | trailhound detect --set rules.access_denied.threshold=5 -",
		RunE: func(c *cobra.Command, args []string) error { return detectFiles(c.Context(), a, args, &f) },
	}
	c.Flags().BoolVar(&f.asJSON, "json", false, "print JSON lines on a terminal too")
	c.Flags().BoolVar(&f.strict, "strict", false, "fail when a record could not be evaluated")
	reportAllFlag(c, &f.reportAll)
	return c
}

func detectFiles(ctx context.Context, a *app, args []string, f *detectFlags) (err error) {
	begun := time.Now()
	s, err := a.setup()
	if err != nil {
		return err
	}
	list, err := a.inputFiles(args)
	if err != nil {
		return err
	}
	console := a.newConsole("detect", totalSize(list))
	defer console.close()
	t := newTally()
	t.reported.all = f.reportAll
	out := newAlertWriter(a, a.stdout, console, a.stdoutTerminal, f.asJSON)
	o, err := s.playOptions()
	if err != nil {
		return err
	}
	o.Alert = func(_ *rules.Event, alert *rules.Alert) error {
		t.alert(alert)
		return out.write(alert)
	}
	o.Rejected = func(at state.Source, index int, reason rules.Reason, detail string) {
		t.bad(console, at, index, reason, detail)
	}
	o.Idle = out.w.Flush
	player, err := play.New(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, player.Close()) }()
	err = player.Run(ctx, playFiles(a.fileReader(console, s, t), list))
	if err = cmp.Or(err, out.w.Flush()); a.noReader(err) {
		return errNoReader
	}
	t.played(player.Counts())
	console.close()
	a.tell(t.summary(time.Since(begun), fmt.Sprintf("matches %d", player.Counts().Matches)))
	if n := t.badTotal(); err == nil && f.strict && n > 0 {
		return fmt.Errorf("not everything could be evaluated: left out %d", n)
	}
	return err
}

// alertWriter writes alerts as lines of JSON. On a terminal it writes each one at once, for
// people unless JSON is asked for, without raw bytes that the terminal would act on.
type alertWriter struct {
	w        *bufio.Writer
	console  *console
	terminal bool
	people   func(w io.Writer, payload []byte, notes ...string) error // nil: JSON
	line     []byte
}

// alertWriter returns a writer of alerts to w; terminal says whether w is one.
func newAlertWriter(a *app, w io.Writer, console *console, terminal, asJSON bool) *alertWriter {
	o := &alertWriter{w: bufio.NewWriterSize(w, 64<<10), console: console, terminal: terminal}
	if terminal && !asJSON {
		o.people = a.printAlert
	}
	return o
}

func (o *alertWriter) write(a *rules.Alert) (err error) {
	if !o.terminal {
		o.line = append(append(o.line[:0], a.Payload...), '\n')
		_, err = o.w.Write(o.line)
		return err
	}
	o.console.above(func() {
		if o.people != nil {
			err = o.people(o.w, a.Payload)
		} else {
			o.line = append(printableJSON(o.line[:0], a.Payload), '\n')
			_, err = o.w.Write(o.line)
		}
		err = cmp.Or(err, o.w.Flush())
	})
	return err
}
