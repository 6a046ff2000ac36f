package cloudtrail

import (
	"cmp"
	"slices"

	"trailhound/rules/cloudtrail/internal/jsonscan"
)

// ValueKind is the JSON type of a [Value].
type ValueKind uint8

// The kinds of values; objects and arrays are none, but consist of them.
const (
	StringValue ValueKind = iota + 1
	NumberValue
	BoolValue
	NullValue
)

// Value is a value in an event that is neither an object nor an array.
type Value struct {
	Kind ValueKind
	Text string // the string; a number as it is written in JSON; "true" or "false"; "" for null
}

// AppendValues appends the values at path, a list of member names from the event inwards,
// in the order of the event, and reports whether there is such a member, null included.
//
// On the way, an array stands for each of its elements, and of the elements of arrays in it;
// but a decimal index in path picks one element. A string that holds an object or array is
// read like that object or array, one such string for each name of path.
//
// At the end of the path, an array stands for its elements in the same way, and an object for
// its strings at any depth; a string is not taken apart, even if it holds JSON. An empty path
// ends at the event: all its strings. Of members of the same name the last one counts.
//
// Strings without escapes are part of Raw, as in Lookup, and take no memory; nor does the
// call, as long as dst has the room.
//
//	values, ok := e.AppendValues(nil, "resources", "ARN")
func (e *Event) AppendValues(dst []Value, path ...string) (values []Value, present bool) {
	v := e.Raw
	if !e.scanned || len(path) == 0 {
		v = jsonscan.Container(v)
	}
	return appendAt(dst, v, path, false)
}

// appendAt is [Event.AppendValues] in a valid JSON value without blanks around it; nil has no
// values. A string is not read if the value comes out of one itself, by the same name of path:
// the number of copies of nested strings is bounded by the path, not by the event.
func appendAt(dst []Value, v []byte, path []string, inString bool) ([]Value, bool) {
	if len(v) > 0 && len(path) == 0 {
		return appendEnd(dst, v), true
	}
	if len(v) > 0 && v[0] == '"' && !inString {
		v, inString = jsonscan.Container(jsonscan.Unquoted(v)), true
	}
	switch {
	case len(v) == 0:
		return dst, false
	case v[0] == '{':
		return appendAt(dst, jsonscan.Member(v, path[0]), path[1:], false)
	case v[0] != '[':
		return dst, false
	}
	if _, ok := jsonscan.Index(path[0]); ok {
		return appendAt(dst, jsonscan.Element(v, path[0]), path[1:], false)
	}
	present := false
	for i, end := jsonscan.Next(v, 0); i < len(v); i, end = jsonscan.Next(v, end) {
		var ok bool
		dst, ok = appendAt(dst, v[i:end], path, inString)
		present = present || ok
	}
	return dst, present
}

// appendEnd appends the values that a valid JSON value at the end of a path stands for.
func appendEnd(dst []Value, v []byte) []Value {
	switch v[0] {
	case '{':
		return appendLeaves(dst, v)
	case '[':
		for i, end := jsonscan.Next(v, 0); i < len(v); i, end = jsonscan.Next(v, end) {
			dst = appendEnd(dst, v[i:end]) // no array: the call nests once
		}
		return dst
	case '"':
		s, _ := jsonscan.Text(v)
		return append(dst, Value{StringValue, s})
	case 't':
		return append(dst, Value{BoolValue, "true"})
	case 'f':
		return append(dst, Value{BoolValue, "false"})
	case 'n':
		return append(dst, Value{NullValue, ""})
	}
	return append(dst, Value{NumberValue, jsonscan.Span{End: uint32(len(v))}.String(v)})
}

// appendLeaves appends the strings in a valid JSON object that are values, at any depth. It
// reads each byte once, however deep the object nests: whether a later member has the same
// name is not known when a string is appended, so such strings are removed at the end.
func appendLeaves(dst []Value, v []byte) []Value {
	var (
		memberRoom [2 * manyMembers]namedMember
		openRoom   [manyMembers]openObject

		members  = memberRoom[:0] // of the open objects, those of the outermost first
		open     = openRoom[:0]
		latest   latestNames
		replaced []valueRange // of members that a later one of the same name replaces
	)
	for i := 0; i < len(v); {
		switch v[i] {
		case '"':
			end := jsonscan.StringEnd(v, i)
			s, _ := jsonscan.Text(v[i:end])
			if i = jsonscan.Space(v, end); i == len(v) || v[i] != ':' {
				dst = append(dst, Value{StringValue, s})
				continue
			}
			in := open[len(open)-1]
			same := latest.replace(members[in.first:], in.at, s)
			members = append(members, namedMember{s, len(dst)})
			if same >= 0 {
				same += in.first
				replaced = append(replaced, valueRange{members[same].first, members[same+1].first})
			}
			continue
		case '{':
			open = append(open, openObject{at: i, first: len(members)})
		case '}':
			members = members[:open[len(open)-1].first]
			open = open[:len(open)-1]
		}
		i++
	}
	return withoutRanges(dst, replaced)
}

// namedMember is a member; its values are those from first up to the next member's.
type namedMember struct {
	name  string
	first int
}

// openObject is an object that begins at an offset; first is the place of its first member.
type openObject struct{ at, first int }

// nameIn is a name in the object that begins at an offset.
type nameIn struct {
	at   int
	name string
}

// latestNames has, for each name in objects with many members, the last one's place in its object.
type latestNames map[nameIn]int

// replace makes the next member of the object at an offset the last of its name, and returns
// the place of the one before among the object's members so far; -1: there is none.
func (l *latestNames) replace(members []namedMember, at int, name string) int {
	n := len(members)
	if n < manyMembers {
		for i := n - 1; i >= 0; i-- {
			if members[i].name == name {
				return i
			}
		}
		return -1
	}
	if *l == nil {
		*l = make(latestNames)
	}
	if n == manyMembers {
		for i, m := range members {
			(*l)[nameIn{at, m.name}] = i
		}
	}
	same, ok := (*l)[nameIn{at, name}]
	(*l)[nameIn{at, name}] = n
	if !ok {
		return -1
	}
	return same
}

// valueRange is the values from first up to end.
type valueRange struct{ first, end int }

// withoutRanges removes the values in ranges, which may lie in each other.
func withoutRanges(values []Value, ranges []valueRange) []Value {
	if len(ranges) == 0 {
		return values
	}
	slices.SortFunc(ranges, func(a, b valueRange) int { return cmp.Compare(a.first, b.first) })
	kept, next := values[:ranges[0].first], ranges[0].first
	for _, r := range ranges {
		if r.first > next {
			kept = append(kept, values[next:r.first]...)
		}
		next = max(next, r.end)
	}
	return append(kept, values[next:]...)
}
