package config

import (
	"slices"
	"strings"
)

// Nearest returns the candidate that name was most likely meant to be, or "" when none is near: the one with the
// least edit distance (insertions, deletions, substitutions and swaps of neighbours), at most a third of the
// length. Case does not count, nor does - against _.
func Nearest(name string, candidates []string) string {
	if len(name) > 256 {
		return ""
	}
	best, least := "", max(1, len(name)/3)+1
	for _, c := range slices.Sorted(slices.Values(candidates)) {
		if d := distance(plain(name), plain(c)); d < least {
			best, least = c, d
		}
	}
	return best
}

func plain(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "_") }

// distance is the optimal string alignment distance of a and b, by bytes.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, last, row = last, row, before
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
