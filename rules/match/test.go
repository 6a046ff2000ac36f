package match

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"regexp"
	"strconv"
	"time"

	"trailhound/rules/cloudtrail"
)

// test is what is asked of the values of a field.
type test interface {
	holds(values []cloudtrail.Value, present bool, s *Scratch) bool
}

// exists: the member is there, null included; or it is not.
type exists bool

func (want exists) holds(_ []cloudtrail.Value, present bool, _ *Scratch) bool {
	return present == bool(want)
}

// null: the member is absent, or it or an element of it is null.
type null struct{}

func (null) holds(values []cloudtrail.Value, present bool, _ *Scratch) bool {
	for _, v := range values {
		if v.Kind == cloudtrail.NullValue {
			return true
		}
	}
	return !present
}

func (p *pattern) holds(values []cloudtrail.Value, _ bool, s *Scratch) bool {
	for _, v := range values {
		if v.Kind != cloudtrail.NullValue && p.matches(v.Text, s) {
			return true
		}
	}
	return false
}

// expression is a regular expression, which may stand anywhere in the value.
type expression struct{ re *regexp.Regexp }

func (x expression) holds(values []cloudtrail.Value, _ bool, _ *Scratch) bool {
	for _, v := range values {
		if v.Kind != cloudtrail.NullValue && x.re.MatchString(v.Text) {
			return true
		}
	}
	return false
}

// network: an address of the prefix.
type network struct{ prefix netip.Prefix }

func (n network) holds(values []cloudtrail.Value, _ bool, _ *Scratch) bool {
	for _, v := range values {
		// The Addr of a value that is none is the zero Addr, which is in no prefix.
		if a, err := netip.ParseAddr(v.Text); err == nil && n.prefix.Contains(a.Unmap()) {
			return true
		}
	}
	return false
}

// comparison: a number, or a part of a time, beside a number of the rule.
type comparison struct {
	part   func(t time.Time) int // nil: the value itself is the number
	accept func(order int) bool  // order of the value beside limit: -1, 0 or 1
	limit  number
}

func (c comparison) holds(values []cloudtrail.Value, _ bool, _ *Scratch) bool {
	for _, v := range values {
		n, ok := c.numberIn(v.Text)
		if ok && c.accept(n.compare(c.limit)) {
			return true
		}
	}
	return false
}

func (c comparison) numberIn(text string) (number, bool) {
	if c.part == nil {
		return parseNumber(text)
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return number{}, false
	}
	return integer(int64(c.part(t.UTC()))), true
}

// number is a JSON number: exact if it is an integer of 64 bits.
type number struct {
	exact   bool
	integer int64
	float   float64
}

func integer(i int64) number { return number{true, i, float64(i)} }

// longestNumber is more than any number has that means something.
const longestNumber = 64

func parseNumber(text string) (number, bool) {
	if text == "" || len(text) > longestNumber || text[0] != '-' && (text[0] < '0' || text[0] > '9') || !json.Valid([]byte(text)) {
		return number{}, false
	}
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		return integer(i), true
	}
	f, err := strconv.ParseFloat(text, 64)
	return number{float: f}, err == nil
}

func (n number) compare(o number) int {
	switch {
	case n.exact && o.exact && n.integer < o.integer, !(n.exact && o.exact) && n.float < o.float:
		return -1
	case n.exact && o.exact && n.integer == o.integer, !(n.exact && o.exact) && n.float == o.float:
		return 0
	}
	return 1
}

// reference: a value of the field equals, contains, begins or ends with a value of another.
type reference struct {
	field   *field
	cased   bool
	compare func(value, other []byte) bool
}

// mostReferred bounds the values of each of the two fields that are compared: an array of an
// event may be of any length, and each value is compared with each.
const mostReferred = 1000

func (r reference) holds(values []cloudtrail.Value, _ bool, s *Scratch) bool {
	others, _ := s.values(r.field)
	folded := make([][]byte, 0, min(len(others), mostReferred))
	for _, o := range others[:min(len(others), mostReferred)] {
		if o.Kind != cloudtrail.NullValue {
			folded = append(folded, r.fold(o.Text))
		}
	}
	if len(folded) == 0 {
		return false
	}
	for _, v := range values[:min(len(values), mostReferred)] {
		if v.Kind == cloudtrail.NullValue {
			continue
		}
		text := r.fold(v.Text)
		for _, o := range folded {
			if r.compare(text, o) {
				return true
			}
		}
	}
	return false
}

func (r reference) fold(text string) []byte {
	if r.cased {
		return []byte(text)
	}
	return appendFolded(nil, text)
}

// Comparisons of texts, by the modifier that asks for them; "": equal.
var comparisons = map[string]func(value, other []byte) bool{
	"":           bytes.Equal,
	"contains":   bytes.Contains,
	"startswith": bytes.HasPrefix,
	"endswith":   bytes.HasSuffix,
}

// Orders of numbers, by the modifier that asks for them; "": equal.
var orders = map[string]func(order int) bool{
	"":    func(o int) bool { return o == 0 },
	"gt":  func(o int) bool { return o > 0 },
	"gte": func(o int) bool { return o >= 0 },
	"lt":  func(o int) bool { return o < 0 },
	"lte": func(o int) bool { return o <= 0 },
}

// Parts of a time, by the modifier that asks for them.
var parts = map[string]func(t time.Time) int{
	"minute": time.Time.Minute,
	"hour":   time.Time.Hour,
	"day":    time.Time.Day,
	"week":   func(t time.Time) int { _, week := t.ISOWeek(); return week },
	"month":  func(t time.Time) int { return int(t.Month()) },
	"year":   time.Time.Year,
}
