package match

import (
	"slices"
	"strconv"
	"strings"

	"trailhound/rules/cloudtrail"
)

// item is what stands before the colon: a field and its modifiers, in order.
type item struct {
	field      *field // nil: keywords
	transforms []string
	compare    string   // the modifier that says how to compare; "": equal, with wildcards
	part       string   // of a time
	flags      []string // of the regular expression: i, m, s

	all, cased, expand, negated bool
}

// transforming modifiers change the value of the rule; comparing ones say how it and the
// event's are compared. There is one comparing modifier at most, but for contains,
// startswith and endswith behind fieldref.
var (
	transforming = []string{"windash", "wide", "utf16", "utf16le", "utf16be", "base64", "base64offset"}
	comparing    = []string{"contains", "startswith", "endswith", "re", "cidr", "exists", "fieldref", "gt", "gte", "lt", "lte"}
	others       = []string{"all", "cased", "expand", "neq", "i", "m", "s"}
)

func modifierNames() []string {
	names := slices.Concat(transforming, comparing, others)
	for name := range parts {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// parseItem reads a name with modifiers. The error is a sentence.
func parseItem(key string) (it item, fault string) {
	name, rest, modified := strings.Cut(key, "|")
	if name == "" && !modified {
		return it, "a field without a name"
	}
	if name != "" {
		if slices.Contains(strings.Split(name, "."), "") {
			return it, quote(name) + " has an empty name between its dots"
		}
		it.field = newField(name)
	}
	if !modified {
		return it, ""
	}
	for m := range strings.SplitSeq(rest, "|") {
		if fault := it.modify(m); fault != "" {
			return it, fault
		}
	}
	return it, it.conflict()
}

func (it *item) modify(m string) (fault string) {
	switch {
	case slices.Contains(transforming, m):
		it.transforms = append(it.transforms, m)
	case it.compare == "fieldref" && comparisons[m] != nil && m != "":
		it.compare = "fieldref " + m
	case m == "fieldref" && comparisons[it.compare] != nil && it.compare != "":
		it.compare = "fieldref " + it.compare
	case slices.Contains(comparing, m):
		if it.compare != "" {
			return quote(m) + " cannot follow " + quote(it.compare) + ": a value is compared in one way"
		}
		it.compare = m
	case parts[m] != nil:
		if it.part != "" {
			return quote(m) + " cannot follow " + quote(it.part) + ": one part of a time is compared"
		}
		it.part = m
	case m == "all":
		it.all = true
	case m == "cased":
		it.cased = true
	case m == "expand":
		it.expand = true
	case m == "neq":
		it.negated = true
	case m == "i" || m == "m" || m == "s":
		if it.compare != "re" {
			return quote(m) + " stands behind re only"
		}
		it.flags = append(it.flags, m)
	default:
		return "the modifier " + quote(m) + " is not known; there are " + strings.Join(modifierNames(), ", ")
	}
	return ""
}

// conflict names a combination that has no meaning.
func (it *item) conflict() string {
	textual := it.compare == "" || comparisons[it.compare] != nil
	switch {
	case len(it.transforms) > 0 && !textual:
		return quote(it.transforms[0]) + " changes a text, and " + quote(it.compare) + " does not take one"
	case it.part != "" && orders[it.compare] == nil:
		return quote(it.part) + " is a number; compare it with gt, gte, lt, lte, or as it is"
	case it.part != "" && len(it.transforms) > 0:
		return quote(it.part) + " is a number, which " + quote(it.transforms[0]) + " cannot change"
	case it.cased && it.compare == "re":
		return "re looks at case unless it has the modifier i; leave cased out"
	case it.cased && !textual && !strings.HasPrefix(it.compare, "fieldref"), it.cased && it.part != "":
		return "cased compares texts only"
	case it.field == nil && (it.part != "" || it.compare != "" && it.compare != "contains" && it.compare != "re"):
		return "keywords have no field; they take contains, re, all, cased, expand, and what changes a text"
	}
	for i, t := range it.transforms {
		encoded := i+1 < len(it.transforms) && strings.HasPrefix(it.transforms[i+1], "base64")
		if (t == "wide" || strings.HasPrefix(t, "utf16")) && !encoded {
			return quote(t) + " makes bytes that no JSON text has; base64 or base64offset has to follow it"
		}
	}
	return ""
}

func quote(s string) string {
	const longest = 100 // bytes, so that a sentence stays one
	return strconv.Quote(cloudtrail.Clip(s, longest))
}
