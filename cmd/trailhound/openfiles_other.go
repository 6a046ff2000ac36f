//go:build !unix

package main

// openFilesLimit returns how many files the process may have open: as many as there is memory for.
func openFilesLimit() (limit uint64, ok bool) { return 0, false }
