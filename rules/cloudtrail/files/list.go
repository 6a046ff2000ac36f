package files

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// cloudTrailTime finds the time in the names that CloudTrail gives its files, as in
// 111122223333_CloudTrail_us-east-1_20230710T1205Z_SjF3IkuNXJkoHyar.json.gz.
// https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-examples.html
var cloudTrailTime = regexp.MustCompile(`_(\d{8}T\d{4}Z)_`)

// PathError is the error of a file or directory that cannot be listed or opened.
type PathError struct {
	Path  string // as it is: a name may hold line ends, and sequences that a terminal acts on
	Given bool   // the path was given to List, not found below one that was
	Err   error  // the cause alone, without Path
}

// The causes of a PathError that are none of the operating system's.
var (
	ErrNoFiles      = errors.New("there are no files below the directory")
	ErrDanglingLink = errors.New("a link to a path that does not exist")
)

// Error puts the path before its error.
func (e *PathError) Error() string { return fmt.Sprintf("%s: %v", e.Path, e.Err) }

// Unwrap returns the cause.
func (e *PathError) Unwrap() error { return e.Err }

// List lists the files to read: those named in paths, and all below directories in paths,
// without hidden ones; links to directories are followed. "-" is standard input. Files with
// CloudTrail's time in the name come first, by that time, then the others by path; the
// order of paths does not count. A link to a directory that is read already, under name, is
// reported to passed.
func List(paths []string, passed func(link, name string)) ([]File, error) {
	l := listing{passed: passed, walked: map[string]string{}}
	for _, path := range paths {
		if path == "-" {
			l.files = append(l.files, File{Name: path, Size: -1})
			continue
		}
		if err := l.add(path); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(l.files, compareFiles)
	return slices.CompactFunc(l.files, func(x, y File) bool { return x.Name == y.Name }), nil
}

func compareFiles(x, y File) int {
	if x.time.IsZero() != y.time.IsZero() {
		if x.time.IsZero() {
			return 1
		}
		return -1
	}
	return cmp.Or(x.time.Compare(y.time), cmp.Compare(x.Name, y.Name))
}

// listing lists the files to read.
type listing struct {
	passed func(link, name string)
	files  []File
	walked map[string]string // directories that were read, by path without links; the value is the name used
	links  []string          // to directories, to be followed once the tree around them is read
}

// add adds the file at path or, if path is a directory, the files below it. A path named by
// the user may be of any kind, even a named pipe; below a directory only files and links
// count. A link to a directory is followed unless that directory is read under another name.
func (l *listing) add(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return pathError(err, true)
	}
	if err := canOpen(path, info); err != nil {
		return pathError(err, true)
	}
	if !info.IsDir() {
		l.files = append(l.files, newFile(filepath.Clean(path), info))
		return nil
	}
	files, walked := len(l.files), len(l.walked)
	if err := l.walk(path); err != nil {
		return pathError(err, false)
	}
	for len(l.links) > 0 {
		link := l.links[0]
		l.links = l.links[1:]
		if err := l.follow(link); err != nil {
			return pathError(err, false)
		}
	}
	if len(l.files) == files && len(l.walked) > walked {
		return &PathError{path, true, ErrNoFiles}
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
		l.passed(link, name)
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
			return &PathError{p, false, ErrDanglingLink}
		case err != nil:
			return err
		case info.IsDir():
			l.links = append(l.links, p)
		case info.Mode().IsRegular():
			l.files = append(l.files, newFile(p, info))
		}
	}
	return nil
}

func newFile(name string, info fs.FileInfo) File {
	f := File{Name: name, Size: -1}
	if info.Mode().IsRegular() {
		f.Size = info.Size()
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

// pathError returns the error of the operating system as a PathError.
func pathError(err error, given bool) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return &PathError{pe.Path, given, pe.Err}
	}
	return err
}
