package main

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

// inputFile is one file to read events from.
type inputFile struct {
	name string    // as it was given, or found below a directory that was; "-" is stdin
	size int64     // bytes on disk; -1: unknown
	time time.Time // from a CloudTrail file's name; zero: it has none
}

// cloudTrailTime finds the time in the names that CloudTrail gives its files, as in
// 111122223333_CloudTrail_us-east-1_20230710T1205Z_SjF3IkuNXJkoHyar.json.gz.
// https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-examples.html
var cloudTrailTime = regexp.MustCompile(`_(\d{8}T\d{4}Z)_`)

// inputFiles lists the files to read: those named in args, and all below directories that are, hidden ones left
// out. No args: stdin. Files with CloudTrail's time in the name come first, in that order, then the others by path;
// the order of args does not count.
func (a *app) inputFiles(args []string) ([]inputFile, error) {
	if len(args) == 0 {
		if a.stdinTerminal {
			return nil, usagef("nothing to read; name files or directories, or - for standard input")
		}
		args = []string{"-"}
	}
	var files []inputFile
	for _, arg := range args {
		if arg == "-" {
			files = append(files, inputFile{name: arg, size: -1})
			continue
		}
		found, err := filesBelow(arg)
		if err != nil {
			return nil, err
		}
		files = append(files, found...)
	}
	slices.SortFunc(files, compareFiles)
	return slices.CompactFunc(files, func(x, y inputFile) bool { return x.name == y.name }), nil
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

// filesBelow returns the file at path, or the files below it if it is a directory. A path that was named is read
// whatever it is, a named pipe too; below a directory only files and links to files count.
func filesBelow(path string) ([]inputFile, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, pathError(err)
	}
	if !info.IsDir() {
		return []inputFile{newInputFile(filepath.Clean(path), info)}, nil
	}
	var files []inputFile
	err = filepath.WalkDir(path, func(p string, entry fs.DirEntry, err error) error {
		switch hidden := strings.HasPrefix(entry.Name(), ".") && p != path; {
		case err != nil:
			return err
		case hidden && entry.IsDir():
			return filepath.SkipDir
		case hidden || entry.IsDir():
			return nil
		}
		info, err := os.Stat(p)
		if err == nil && info.Mode().IsRegular() {
			files = append(files, newInputFile(p, info))
		}
		return err
	})
	if err != nil {
		return nil, pathError(err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no files below %s", printable(path))
	}
	return files, nil
}

func newInputFile(name string, info fs.FileInfo) inputFile {
	f := inputFile{name: name, size: -1}
	if info.Mode().IsRegular() {
		f.size = info.Size()
	}
	if m := cloudTrailTime.FindStringSubmatch(filepath.Base(name)); m != nil {
		f.time, _ = time.Parse("20060102T1504Z", m[1]) // what is no time of day sorts as a name without one
	}
	return f
}

// pathError says the path before what is wrong with it. A name may hold a line end, and forge a line of its own.
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
