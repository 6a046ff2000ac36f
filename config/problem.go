package config

import (
	"strconv"
	"strings"
)

// Problem is one thing that is wrong with the configuration.
type Problem struct {
	Origin Origin // where it stands
	Path   string // the key it is about, or ""
	Text   string // what is wrong and the way out
}

// Error returns one sentence: "trailhound.yaml:3:8: shards: 0 is too small; the least is 1".
func (p *Problem) Error() string {
	var b strings.Builder
	if p.Origin.Source != FromDefault {
		b.WriteString(p.Origin.String() + ": ")
	}
	// A flag's origin names the key already.
	if p.Path != "" && (p.Origin.Source != FromFlag || p.Origin.Name != p.Path) {
		b.WriteString(quoteOdd(p.Path) + ": ")
	}
	b.WriteString(p.Text)
	return b.String()
}

// Problems is everything that Load found wrong, in the order in which it was read.
type Problems []*Problem

// Error returns the sentences of all problems, one a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Usage reports whether every problem stands on the command line.
func (ps Problems) Usage() bool {
	for _, p := range ps {
		if p.Origin.Source != FromFlag {
			return false
		}
	}
	return true
}

// unknown says that name is not a key of the section at path, and what was probably meant.
func (s *fieldSet) unknown(section, name string) string {
	path, below := join(section, name), s.below(section)
	what := "unknown key " + quoteOdd(path)
	if section == "rules" {
		what = "unknown rule " + quoteOdd(name)
	}
	if s.byPath[path] != nil {
		return what + "; write it as keys inside keys: " + strings.ReplaceAll(path, ".", ": {") + ": …" + strings.Repeat("}", strings.Count(path, "."))
	}
	if near := Nearest(name, below); near != "" {
		if section == "rules" {
			return what + "; did you mean " + near + "?"
		}
		return what + "; did you mean " + join(section, near) + "?"
	}
	for _, f := range s.list {
		if _, last := split(f.path); last == name && !strings.HasPrefix(f.path, "rules.") {
			return what + "; did you mean " + f.path + "?"
		}
	}
	if section == "" {
		return what + "; known keys are " + strings.Join(below, ", ")
	}
	return what + "; " + section + " has " + strings.Join(below, ", ")
}

// quoteOdd quotes a name that has anything but printable ASCII in it.
func quoteOdd(name string) string {
	if name == "" {
		return `""`
	}
	for i := range len(name) {
		if name[i] <= ' ' || name[i] > '~' {
			return strconv.Quote(name)
		}
	}
	return name
}
