package config

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Problem is one thing that is wrong with the configuration.
type Problem struct {
	Origin Origin // where it stands
	Path   string // the key it is about, or ""
	Text   string // the mistake and the way out
}

// Error returns one sentence: "trailhound.yaml:3:8: shards: 0 is too small; the least is 1".
func (p *Problem) Error() string {
	var b strings.Builder
	if p.Origin.Source != FromDefault {
		b.WriteString(p.Origin.String() + ": ")
	}
	if p.Path != "" && !p.Origin.names(p.Path) {
		b.WriteString(quoteOdd(p.Path) + ": ")
	}
	b.WriteString(p.Text)
	return b.String()
}

// names reports whether the origin already names the key at path, or one below it, as that
// of a flag does.
func (o Origin) names(path string) bool {
	return o.Source == FromFlag && (o.Name == path || strings.HasPrefix(o.Name, path+"."))
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

// switchNames are the keys by which other programs turn a rule on or off.
var switchNames = []string{"enabled", "enable", "disabled", "disable", "on", "off", "active", "status"}

// unknown says that name is not a key of section, and suggests the key that was probably meant.
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
	if group, rule := split(section); group == "rules" {
		if slices.Contains(switchNames, strings.ToLower(name)) {
			return what + "; a rule is on unless it is false: write rules." + rule + ": false, or leave the key out"
		}
		return what + "; " + section + " has " + strings.Join(below, ", ")
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

// mostShown is how many bytes of a value or name an error shows.
const mostShown = 200

// clip returns s, cut and marked with … if it is longer than mostShown.
func clip(s string) string {
	if len(s) <= mostShown {
		return s
	}
	end := mostShown
	for !utf8.RuneStart(s[end]) && end > mostShown-utf8.UTFMax {
		end--
	}
	return s[:end] + "…"
}

// quote returns the beginning of a value in quotes.
func quote(s string) string { return strconv.Quote(clip(s)) }

// quoteOdd quotes a name that has anything but printable ASCII in it.
func quoteOdd(name string) string {
	name = clip(name)
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
