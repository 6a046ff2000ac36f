//go:build !race

package race

// Enabled is whether this is a build with -race.
const Enabled = false
