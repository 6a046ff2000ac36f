//go:build !race

// Package race tells tests whether the race detector is on: it makes everything
// many times slower, and figures of memory mean nothing under it.
package race

// Enabled is whether this is a build with -race.
const Enabled = false
