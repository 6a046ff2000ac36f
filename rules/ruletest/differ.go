package ruletest

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"trailhound/rules/cloudtrail"
)

// maxDifferences is how many differences of one alert are told.
const maxDifferences = 20

// differ tells how got differs from want, a line for each place. Of objects only
// the members of want count, unless exact.
func (r *runner) differ(path string, want, got any, exact bool) []string {
	d := differences{nearest: r.suite.Nearest, exact: exact}
	d.compare(path, want, got)
	if more := len(d.lines) - maxDifferences; more > 0 {
		d.lines = append(d.lines[:maxDifferences], fmt.Sprintf("%s: and %d more differences", path, more))
	}
	return d.lines
}

type differences struct {
	nearest func(string, []string) string
	exact   bool
	lines   []string
}

func (d *differences) add(path string, want, got any) {
	d.lines = append(d.lines, fmt.Sprintf("%s:\n  got  %s\n  want %s", path, short(jsonOf(got)), short(jsonOf(want))))
}

func (d *differences) compare(path string, want, got any) {
	switch w := want.(type) {
	case map[string]any:
		if g, ok := got.(map[string]any); ok {
			d.compareObjects(path, w, g)
			return
		}
	case []any:
		if g, ok := got.([]any); ok && len(g) == len(w) {
			for i := range w {
				d.compare(fmt.Sprintf("%s[%d]", path, i), w[i], g[i])
			}
			return
		}
	case json.Number:
		if g, ok := got.(json.Number); ok && sameNumber(w, g) {
			return
		}
	default:
		if reflect.DeepEqual(want, got) {
			return
		}
	}
	d.add(path, want, got)
}

func (d *differences) compareObjects(path string, want, got map[string]any) {
	names := slices.Sorted(maps.Keys(got))
	for _, name := range slices.Sorted(maps.Keys(want)) {
		below := path + "." + name
		if g, ok := got[name]; ok {
			d.compare(below, want[name], g)
		} else if near := d.nearest(name, names); near != "" {
			d.lines = append(d.lines, fmt.Sprintf("%s: there is none; did you mean %s?", below, near))
		} else {
			d.lines = append(d.lines, fmt.Sprintf("%s: there is none; there are %s", below, strings.Join(names, ", ")))
		}
	}
	if !d.exact {
		return
	}
	for _, name := range names {
		if _, ok := want[name]; !ok {
			d.lines = append(d.lines, fmt.Sprintf("%s.%s: is there; want none", path, name))
		}
	}
}

// sameNumber compares as text, and else by value: 3 and 3.0 are the same.
func sameNumber(a, b json.Number) bool {
	if a == b {
		return true
	}
	x, errX := a.Float64()
	y, errY := b.Float64()
	return errX == nil && errY == nil && x == y && !(isInteger(a) && isInteger(b))
}

func isInteger(n json.Number) bool { return !strings.ContainsAny(string(n), ".eE") }

// shownValue is how many bytes of one value a report shows.
const shownValue = 400

func short(text []byte) string {
	return cloudtrail.Clip(string(text), shownValue)
}

// list writes strings as the file would have them.
func list(items []string) string {
	if items == nil {
		items = []string{}
	}
	return short(jsonOf(items))
}
