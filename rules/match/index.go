package match

import (
	"slices"
	"strings"

	"trailhound/rules/cloudtrail"
)

// Index finds, of many expressions, those that an event matches. Each stands under its
// witness: values of one field, one of which every event has that the expression matches. An
// event asks for the expressions of the values that it has; those alone are evaluated.
//
// An Index is not changed after [NewIndex]; many goroutines may use it at once, each with
// its own [Scratch].
type Index struct {
	exprs    []*Expr
	exact    []exactIndex // by field, those with expressions
	prefixes prefixIndex
	always   []int // expressions without a witness
}

// witnessFields are the fields that a witness may be of, from the one that tells most. The
// decoder reads them in any case.
var witnessFields = []string{
	"eventName", "errorCode", "sourceIPAddress", "userIdentity.arn", "userIdentity.principalId",
	"userIdentity.invokedBy", "eventSource", "eventType", "userIdentity.type",
	"recipientAccountId", "userIdentity.accountId", "awsRegion", "eventCategory", "eventVersion",
}

// exactIndex has expressions by a value of a field, folded.
type exactIndex struct {
	field   *field
	exprs   map[string][]int
	longest int // of the values
}

// prefixIndex has expressions by a prefix of eventName, folded.
type prefixIndex struct {
	field   *field
	exprs   map[string][]int
	lengths []int // of the prefixes, ascending
}

// NewIndex makes the index of exprs.
func NewIndex(exprs []*Expr) *Index {
	ix := &Index{exprs: exprs, prefixes: prefixIndex{field: newField("eventName"), exprs: map[string][]int{}}}
	exact := map[string]map[string][]int{}
	for i, x := range exprs {
		w := x.Witness()
		switch {
		case w.Field == "":
			ix.always = append(ix.always, i)
		case w.Prefix:
			for _, v := range w.Values {
				ix.prefixes.exprs[v] = append(ix.prefixes.exprs[v], i)
				ix.prefixes.lengths = append(ix.prefixes.lengths, len(v))
			}
		default:
			if exact[w.Field] == nil {
				exact[w.Field] = map[string][]int{}
			}
			for _, v := range w.Values {
				exact[w.Field][v] = append(exact[w.Field][v], i)
			}
		}
	}
	slices.Sort(ix.prefixes.lengths)
	ix.prefixes.lengths = slices.Compact(ix.prefixes.lengths)
	for _, name := range witnessFields {
		if exact[name] == nil {
			continue
		}
		f := exactIndex{field: newField(name), exprs: exact[name]}
		for v := range f.exprs {
			f.longest = max(f.longest, len(v))
		}
		ix.exact = append(ix.exact, f)
	}
	return ix
}

// Match returns the positions of the expressions that the event matches, ascending. They are
// valid until the next call with the same Scratch.
func (ix *Index) Match(e *cloudtrail.Event, s *Scratch) []int {
	s.begin(e)
	s.candidates = s.candidates[:0]
	if len(s.asked) < len(ix.exprs) {
		s.asked = make([]uint64, len(ix.exprs))
	}
	for i := range ix.exact {
		f := &ix.exact[i]
		s.each(f.field, longestFolding*f.longest, func(folded []byte) { s.ask(f.exprs[string(folded)]) })
	}
	if p := &ix.prefixes; len(p.lengths) > 0 {
		longest := longestFolding * p.lengths[len(p.lengths)-1]
		s.each(p.field, longest, func(folded []byte) {
			for _, n := range p.lengths {
				if n > len(folded) {
					break
				}
				s.ask(p.exprs[string(folded[:n])])
			}
		})
	}
	s.ask(ix.always)
	slices.Sort(s.candidates)
	matched := s.candidates[:0]
	for _, i := range s.candidates {
		if ix.exprs[i].holds(s) {
			matched = append(matched, i)
		}
	}
	return matched
}

// each folds each value of a field; of one that is longer than longest, the front and a
// character more, so that it is not taken for a whole one.
func (s *Scratch) each(f *field, longest int, visit func(folded []byte)) {
	one := [1]cloudtrail.Value{{Kind: cloudtrail.StringValue, Text: f.decodedIn(s.event)}}
	values := one[:]
	if one[0].Text == "" {
		values, _ = s.values(f)
	}
	for _, v := range values {
		if v.Kind != cloudtrail.NullValue {
			visit(s.fold(v.Text[:min(len(v.Text), longest+longestFolding)], false))
		}
	}
}

// ask makes expressions candidates, each once.
func (s *Scratch) ask(exprs []int) {
	for _, i := range exprs {
		if s.asked[i] != s.round {
			s.asked[i] = s.round
			s.candidates = append(s.candidates, i)
		}
	}
}

// Witness is a condition that an expression implies, by which it is found.
type Witness struct {
	Field  string   // "": there is none; every event is asked
	Values []string // folded; the field has one of them
	Prefix bool     // the field begins with one of them
}

// Witness returns the condition by which an index finds the expression: an exact eventName if
// there is one, else the exact value of another field that the decoder reads, else a prefix of
// eventName.
func (x *Expr) Witness() Witness {
	for _, name := range witnessFields {
		if values, ok := x.implied(name, (*pattern).whole); ok {
			return Witness{Field: name, Values: distinct(values)}
		}
	}
	if values, ok := x.implied("eventName", (*pattern).front); ok {
		return Witness{Field: "eventName", Values: distinct(values), Prefix: true}
	}
	return Witness{}
}

func distinct(values []string) []string {
	slices.Sort(values)
	return slices.Compact(values)
}

// whole returns the folded text that a matching value is.
func (p *pattern) whole() (text string, ok bool) { return p.prefix(), p.exact }

// front returns the folded text that a matching value begins with.
func (p *pattern) front() (text string, ok bool) {
	text = p.prefix()
	return text, text != ""
}

// implied returns texts, one of which the field has in every event that the expression
// matches; the function of returns the text that a pattern implies. A negation implies none.
func (x *Expr) implied(name string, of func(*pattern) (string, bool)) (values []string, ok bool) {
	switch x.op {
	case and:
		for _, k := range x.kids {
			if v, some := k.implied(name, of); some && (!ok || len(v) < len(values)) {
				values, ok = v, true
			}
		}
		return values, ok
	case or:
		for _, k := range x.kids {
			v, some := k.implied(name, of)
			if !some {
				return nil, false
			}
			values = append(values, v...)
		}
		return values, len(x.kids) > 0
	case not:
		return nil, false
	}
	if x.field == nil || x.field.name != name {
		return nil, false
	}
	for _, t := range x.tests {
		p, isPattern := t.(*pattern)
		if !isPattern {
			if x.all {
				continue
			}
			return nil, false
		}
		text, some := of(p)
		switch {
		case some && x.all:
			return []string{text}, true
		case some:
			values = append(values, text)
		case !x.all:
			return nil, false
		}
	}
	return values, !x.all && len(values) > 0
}

// String says the witness in a few words, as in: eventName is one of 3 values.
func (w Witness) String() string {
	switch {
	case w.Field == "":
		return "every event"
	case w.Prefix:
		return w.Field + " begins with " + strings.Join(w.Values, ", ")
	}
	return w.Field + " is " + strings.Join(w.Values, ", ")
}
