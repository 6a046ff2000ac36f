package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
)

// The functions of this file change state directories while no instance works on them.

// copyState replaces the directory to by a copy of the state directory from.
func copyState(from, to string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	err := os.CopyFS(to, os.DirFS(from))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // killed before it had made one
	}
	return err
}

// swapStates exchanges two state directories.
func swapStates(a, b string) error {
	aside := a + "-aside"
	for _, move := range [][2]string{{a, aside}, {b, a}, {aside, b}} {
		err := os.Rename(move[0], move[1])
		if errors.Is(err, syscall.EXDEV) {
			err = errors.Join(copyState(move[0], move[1]), os.RemoveAll(move[0]))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// damageState truncates a file of a state directory, deletes it, or writes garbage over a part of it, and says which
// and how.
func damageState(dir string, rng *rand.Rand) (string, error) {
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && d.Name() != "LOCK" {
			files = append(files, path)
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(files) == 0 {
		return "there was nothing to damage", nil
	}
	if err != nil {
		return "", err
	}
	path := files[rng.IntN(len(files))]
	name, err := filepath.Rel(dir, path)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	size := int(info.Size())
	how := rng.IntN(5)
	switch {
	case size == 0 || how == 0: // an empty file cannot be cut
		return name + " deleted", os.Remove(path)
	case how < 3:
		left := rng.IntN(size)
		return fmt.Sprintf("%s cut from %d to %d bytes", name, size, left), os.Truncate(path, int64(left))
	}
	at, n := rng.IntN(size), 1+rng.IntN(4096)
	return fmt.Sprintf("%s of %d bytes overwritten from byte %d on", name, size, at), overwrite(path, at, min(n, size-at), rng)
}

func overwrite(path string, at, n int, rng *rand.Rand) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	garbage := make([]byte, n)
	for i := range garbage {
		garbage[i] = byte(rng.Uint32())
	}
	_, err = f.WriteAt(garbage, int64(at))
	return errors.Join(err, f.Close())
}
