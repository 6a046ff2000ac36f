//go:build !race

package changelog_test

const underRace = false
