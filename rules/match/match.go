// Package match is Sigma's selection language over CloudTrail events: which events a rule
// looks at, said as data. [Parse] reads the YAML of a selection and compiles it into an
// [Expr]; an [Index] finds, of many expressions, those that an event matches without asking
// each. Nothing here has state.
//
// The language is that of the Sigma specification 2.1.0
// (https://sigmahq.io/sigma-specification/), with what it leaves open settled in README.md.
// Its one guarantee: [Index.Match] returns the expressions for which [Expr.Match] is true,
// and a word that is not understood is an error, never ignored.
package match

import (
	"fmt"

	"trailhound/rules/cloudtrail"
)

// Expr is a compiled expression. It is not changed after [Parse]; many goroutines may use it
// at once.
type Expr struct {
	op    operator
	kids  []*Expr // of and, or, not
	field *field  // of leaf: the values that are tested; nil: the strings of the whole event
	tests []test  // of leaf
	all   bool    // of leaf: every one of tests holds, not any
}

type operator uint8

const (
	and operator = iota
	or
	not
	leaf
)

// Match reports whether the event matches. [Index.Match] is the way for many expressions:
// it keeps what was read of an event from one to the next.
func (x *Expr) Match(e *cloudtrail.Event) bool {
	var s Scratch
	s.begin(e)
	return x.holds(&s)
}

func (x *Expr) holds(s *Scratch) bool {
	switch x.op {
	case and:
		for _, k := range x.kids {
			if !k.holds(s) {
				return false
			}
		}
		return true
	case or:
		for _, k := range x.kids {
			if k.holds(s) {
				return true
			}
		}
		return false
	case not:
		return !x.kids[0].holds(s)
	}
	values, present := s.values(x.field)
	for _, t := range x.tests {
		if t.holds(values, present, s) != x.all {
			return !x.all
		}
	}
	return x.all
}

// Paths returns the fields that the expression reads, as they are written, each once and in
// order of appearance.
func (x *Expr) Paths() []string {
	var paths []string
	seen := map[string]bool{}
	add := func(f *field) {
		if f != nil && !seen[f.name] {
			seen[f.name] = true
			paths = append(paths, f.name)
		}
	}
	x.walk(func(l *Expr) {
		add(l.field)
		for _, t := range l.tests {
			if r, ok := t.(reference); ok {
				add(r.field)
			}
		}
	})
	return paths
}

// walk calls visit for every leaf, from the left.
func (x *Expr) walk(visit func(*Expr)) {
	if x.op == leaf {
		visit(x)
	}
	for _, k := range x.kids {
		k.walk(visit)
	}
}

// Error is a fault in the YAML of an expression.
type Error struct {
	Line, Column int // from 1
	Text         string
}

func (e *Error) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Text)
}

// Warning is a doubt about an expression that is valid all the same.
type Warning Error
