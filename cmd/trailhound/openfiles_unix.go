//go:build unix

package main

import "syscall"

// openFilesLimit returns how many files the process may have open.
func openFilesLimit() (limit uint64, ok bool) {
	var l syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l)
	return uint64(l.Cur), err == nil //nolint:unconvert // it is an int64 on FreeBSD
}
