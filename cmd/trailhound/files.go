package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"syscall"

	"trailhound/rules"
	"trailhound/rules/cloudtrail/files"
	"trailhound/rules/play"
	"trailhound/state"
)

// inputFiles lists the files to read; no args: stdin.
func (a *app) inputFiles(args []string) ([]files.File, error) {
	if len(args) == 0 {
		if a.stdinTerminal {
			return nil, usagef("nothing to read; name files or directories, or - for standard input")
		}
		args = []string{"-"}
	}
	list, err := files.List(args, func(link, name string) {
		fmt.Fprintf(a.stderr, "%s leads to %s, which is read already; it is not followed\n", printable(link), printable(name))
	})
	return list, fileError(err)
}

// fileReader returns a reader of files that reports to the console, and counts in the tally.
func (a *app) fileReader(c *console, s *setup, t *tally) *files.Reader {
	return &files.Reader{
		Stdin: a.stdin, MaxRecord: s.held, Advance: c.advance, Ended: func() { t.files++ },
		Refused: func(file string, record int64, reason rules.Reason, detail string) {
			t.bad(c, state.Source{Topic: file, Offset: record}, -1, reason, detail)
		},
	}
}

// eachRecord calls yield for every record of the files, and counts them. A record's source
// is the file's name, partition 0 and the number of the record in the file.
func eachRecord(ctx context.Context, r *files.Reader, list []files.File, t *tally, yield func(at state.Source, record []byte) error) error {
	return fileError(r.Read(ctx, list, func(b *files.Batch) error {
		for i, record := range b.Records {
			t.records++
			if err := yield(sourceOf(b, i), record); err != nil {
				return err
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
		b.Done()
		return nil
	}))
}

// playFiles returns the producer that gives a player the records of the files.
func playFiles(r *files.Reader, list []files.File) func(context.Context, func(*play.Batch) error) error {
	free := sync.Pool{New: func() any { return new(play.Batch) }}
	return func(ctx context.Context, add func(*play.Batch) error) error {
		return fileError(r.Read(ctx, list, func(b *files.Batch) error {
			p := free.Get().(*play.Batch)
			for i, record := range b.Records {
				p.Records = append(p.Records, play.Record{At: sourceOf(b, i), Value: record})
			}
			p.Done = func() {
				clear(p.Records)
				p.Records = p.Records[:0]
				free.Put(p)
				b.Done()
			}
			return add(p)
		}))
	}
}

// sourceOf returns the place of a batch's record i.
func sourceOf(b *files.Batch, i int) state.Source {
	return state.Source{Topic: b.File, Offset: b.First + int64(i)}
}

// totalSize is the sum of the files' sizes, or -1 when one is unknown.
func totalSize(list []files.File) int64 {
	var sum int64
	for _, f := range list {
		if f.Size < 0 {
			return -1
		}
		sum += f.Size
	}
	return sum
}

// fileError puts an error of listing or opening a file into words. A path that the command
// line names, and that cannot be opened, is an error of the command line.
func fileError(err error) error {
	pe, ok := errors.AsType[*files.PathError](err)
	switch {
	case !ok:
		return err
	case errors.Is(err, files.ErrNoFiles):
		return usagef("no files below %s", printable(pe.Path))
	case errors.Is(err, files.ErrDanglingLink):
		return fmt.Errorf("%s is a link to what does not exist; mend or remove it, or name the files to be read", printable(pe.Path))
	case pe.Given && unusable(pe.Err):
		return usagef("%s: %s", printable(pe.Path), pe.Err)
	}
	return fmt.Errorf("%s: %w", printable(pe.Path), pe.Err)
}

// namedError is the error of a file or directory that the command line or one of its flags
// names: if it is missing, of another kind, or may not be opened, the command line is
// wrong. Any other error is a failure.
func namedError(flag string, err error) error {
	text := pathError(err)
	if flag != "" {
		text = fmt.Errorf("%s: %w", flag, text)
	}
	if unusable(err) {
		return usagef("%s", text)
	}
	return text
}

// unusable tells whether an error means that a name cannot be opened, and will not be later
// by itself.
func unusable(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.EISDIR)
}

// pathError puts the path before its error, escaped: a name may hold a line end, and forge
// a line of its own.
func pathError(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("%s: %w", printable(pe.Path), pe.Err)
	}
	return err
}
