package main

import (
	archivezip "archive/zip"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// inputFile is one file to read events from.
type inputFile struct {
	name string    // as given, or found below a directory that was given; "-" is stdin
	size int64     // bytes on disk; -1: unknown
	time time.Time // from a CloudTrail file's name; zero if there is none

	err     error            // why the file cannot be read; nil if no cause is known
	archive *archive         // of which this is a member; nil for a file of its own
	member  *archivezip.File // of archive
}

// cloudTrailTime finds the time in the names that CloudTrail gives its files, as in
// 111122223333_CloudTrail_us-east-1_20230710T1205Z_SjF3IkuNXJkoHyar.json.gz.
// https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-examples.html
var cloudTrailTime = regexp.MustCompile(`_(\d{8}T\d{4}Z)_`)

// inputFiles lists the files to read: those named in args, and all below directories in
// args, without hidden ones; links to directories are followed. No args: stdin. Files with
// CloudTrail's time in the name come first, by that time, then the others by path; the
// order of args does not count.
func (a *app) inputFiles(args []string) ([]inputFile, error) {
	if len(args) == 0 {
		if a.stdinTerminal {
			return nil, usagef("nothing to read; name files or directories, or - for standard input")
		}
		args = []string{"-"}
	}
	l := listing{notes: a.stderr, walked: map[string]string{}}
	for _, arg := range args {
		if arg == "-" {
			l.files = append(l.files, inputFile{name: arg, size: -1})
			continue
		}
		if err := l.add(arg); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(l.files, compareFiles)
	return slices.CompactFunc(l.files, func(x, y inputFile) bool { return x.name == y.name }), nil
}

func compareFiles(x, y inputFile) int {
	if x.time.IsZero() != y.time.IsZero() {
		if x.time.IsZero() {
			return 1
		}
		return -1
	}
	return cmp.Or(x.time.Compare(y.time), cmp.Compare(x.name, y.name))
}

// listing lists the files to read.
type listing struct {
	notes  io.Writer // reports paths that are passed over
	files  []inputFile
	walked map[string]string // directories that were read, by path without links; the value is the name used
	links  []string          // to directories, to be followed once the tree around them is read
}

// add adds the file at path or, if path is a directory, the files below it. A path named by
// the user may be of any kind, even a named pipe; below a directory only files and links
// count. A link to a directory is followed unless that directory is read under another name.
func (l *listing) add(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return namedError("", err)
	}
	if err := canOpen(path, info); err != nil {
		return namedError("", err)
	}
	if !info.IsDir() {
		l.files = append(l.files, newInputFile(filepath.Clean(path), info))
		return nil
	}
	files, walked := len(l.files), len(l.walked)
	if err := l.walk(path); err != nil {
		return pathError(err)
	}
	for len(l.links) > 0 {
		link := l.links[0]
		l.links = l.links[1:]
		if err := l.follow(link); err != nil {
			return pathError(err)
		}
	}
	if len(l.files) == files && len(l.walked) > walked {
		return usagef("no files below %s", printable(path))
	}
	return nil
}

func (l *listing) follow(link string) error {
	to, err := filepath.EvalSymlinks(link)
	if err != nil {
		return err
	}
	if to, err = filepath.Abs(to); err != nil {
		return err
	}
	if name, ok := l.walked[to]; ok {
		fmt.Fprintf(l.notes, "%s leads to %s, which is read already; it is not followed\n", printable(link), printable(name))
		return nil
	}
	return l.walk(link)
}

// walk adds the files below a directory, and notes the links to directories.
func (l *listing) walk(dir string) error {
	real, err := filepath.EvalSymlinks(dir)
	if err == nil {
		real, err = filepath.Abs(real)
	}
	if err != nil {
		return err
	}
	if _, ok := l.walked[real]; ok {
		return nil // the directory, or one above it, was named before
	}
	l.walked[real] = filepath.Clean(dir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		p := filepath.Join(dir, entry.Name())
		if strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		if entry.IsDir() {
			if err := l.walk(p); err != nil {
				return err
			}
			continue
		}
		info, err := os.Stat(p)
		switch {
		case errors.Is(err, fs.ErrNotExist) && entry.Type()&fs.ModeSymlink != 0:
			return fmt.Errorf("%s is a link to what does not exist; mend or remove it, or name the files to be read", printable(p))
		case err != nil:
			return err
		case info.IsDir():
			l.links = append(l.links, p)
		case info.Mode().IsRegular():
			l.files = append(l.files, newInputFile(p, info))
		}
	}
	return nil
}

func newInputFile(name string, info fs.FileInfo) inputFile {
	f := inputFile{name: name, size: -1}
	if info.Mode().IsRegular() {
		f.size = info.Size()
	}
	f.time = timeInName(filepath.ToSlash(name))
	return f
}

// timeInName returns the time in the name that CloudTrail gave a file; zero if there is
// none.
func timeInName(name string) (t time.Time) {
	if m := cloudTrailTime.FindStringSubmatch(name[strings.LastIndexByte(name, '/')+1:]); m != nil {
		t, _ = time.Parse("20060102T1504Z", m[1]) // an impossible time of day sorts as a name without one
	}
	return t
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

// canOpen tries to open a file or directory. A pipe or a device is left alone: to open it
// has an effect.
func canOpen(path string, info fs.FileInfo) error {
	if !info.IsDir() && !info.Mode().IsRegular() {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return f.Close()
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

// totalSize is the sum of the files' sizes, or -1 when one is unknown.
func totalSize(files []inputFile) int64 {
	var sum int64
	for _, f := range files {
		if f.size < 0 {
			return -1
		}
		sum += f.size
	}
	return sum
}
