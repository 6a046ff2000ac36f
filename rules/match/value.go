package match

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"

	yaml "go.yaml.in/yaml/v3"
)

const (
	nullTag  = "!!null"
	mergeTag = "!!merge"
)

var scalarTags = []string{nullTag, "!!str", "!!int", "!!float", "!!bool", "!!timestamp"}

// item compiles a field, or keywords, with the values asked of it.
func (p *parser) item(it item, n *yaml.Node, depth int) (*Expr, error) {
	n, err := p.enter(n, depth+1)
	if err != nil {
		return nil, err
	}
	list := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		list = n.Content
	}
	if len(list) == 0 {
		return nil, fault(n, "an empty list, which no event matches")
	}
	x := &Expr{op: leaf, field: it.field, all: it.all}
	combined := []*Expr(nil)
	for _, v := range list {
		if v, err = p.enter(v, depth+2); err != nil {
			return nil, err
		}
		if v.Kind == yaml.ScalarNode && !slices.Contains(scalarTags, v.Tag) {
			return nil, fault(v, "the tag %s is not supported; write the value as a text", quote(v.Tag))
		}
		if v.Kind != yaml.ScalarNode {
			return nil, fault(v, "a value is wanted here: a text, a number, true, false or null; a field inside an object is named with dots, as in userIdentity.type")
		}
		tests, err := p.tests(&it, v)
		if err != nil {
			return nil, err
		}
		if it.all && len(tests) > 1 {
			// The forms of one value stand for it: one of them has to match.
			combined = append(combined, &Expr{op: leaf, field: it.field, tests: tests})
			continue
		}
		x.tests = append(x.tests, tests...)
	}
	if combined != nil {
		if len(x.tests) > 0 {
			combined = append(combined, x)
		}
		x = &Expr{op: and, kids: combined}
	}
	if it.negated {
		x = &Expr{op: not, kids: []*Expr{x}}
	}
	return x, nil
}

// tests compiles one value: several tests, one of which has to hold, if the value has
// several forms.
func (p *parser) tests(it *item, n *yaml.Node) ([]test, error) {
	if len(n.Value) > longestValue {
		return nil, fault(n, "a value of %d bytes; at most %d are compared", len(n.Value), longestValue)
	}
	if n.Tag == nullTag {
		if it.compare != "" || it.part != "" || len(it.transforms) > 0 || it.cased || it.field == nil {
			return nil, fault(n, "null is compared as it is, without modifiers; for the text write 'null'")
		}
		return p.count(n, []test{null{}})
	}
	raws, err := p.expanded(it, n, n.Value)
	if err != nil {
		return nil, err
	}
	var tests []test
	for _, raw := range raws {
		more, wrong := it.testsOf(raw)
		if wrong != "" {
			return nil, fault(n, "%s", wrong)
		}
		if tests, err = p.count(n, append(tests, more...)); err != nil {
			return nil, err
		}
	}
	return tests, nil
}

// count bounds the tests of the expression.
func (p *parser) count(n *yaml.Node, tests []test) ([]test, error) {
	if p.compared += len(tests); p.compared > mostTests {
		return nil, fault(n, "the selection compares with more than %d values; split the rule", mostTests)
	}
	return tests, nil
}

var placeholder = regexp.MustCompile(`%([A-Za-z0-9_.-]+)%`)

// expanded puts the values of lists in the place of their names. A percent sign in a value of
// a list stands for itself.
func (p *parser) expanded(it *item, n *yaml.Node, raw string) ([]string, error) {
	at := placeholder.FindStringSubmatchIndex(raw)
	if !it.expand || at == nil {
		return []string{raw}, nil
	}
	list := p.lists[raw[at[2]:at[3]]]
	if len(list) == 0 {
		return nil, fault(n, "%s stands for a list, and there is none of that name in the configuration", raw[at[0]:at[1]])
	}
	rest, err := p.expanded(it, n, raw[at[1]:])
	if err != nil {
		return nil, err
	}
	if len(list)*len(rest) > mostTests {
		return nil, fault(n, "the lists in this value make more than %d values of it", mostTests)
	}
	var values []string
	for _, v := range list {
		for _, r := range rest {
			values = append(values, raw[:at[0]]+v+r)
		}
	}
	return values, nil
}

// testsOf compiles one text of a rule. The fault is a sentence.
func (it *item) testsOf(raw string) (tests []test, fault string) {
	compare, of := it.compare, ""
	if compare != "" {
		compare, of, _ = strings.Cut(compare, " ")
	}
	switch {
	case it.part != "" || compare != "" && orders[compare] != nil:
		limit, ok := parseNumber(raw)
		if !ok {
			return nil, quote(raw) + " is not a number"
		}
		return []test{comparison{parts[it.part], orders[compare], limit}}, ""
	case compare == "exists":
		switch strings.ToLower(raw) {
		case "true":
			return []test{exists(true)}, ""
		case "false":
			return []test{exists(false)}, ""
		}
		return nil, "exists takes true or false, not " + quote(raw)
	case compare == "re":
		return it.regular(raw)
	case compare == "cidr":
		prefix, err := netip.ParsePrefix(raw)
		if a, e := netip.ParseAddr(raw); err != nil && e == nil {
			prefix, err = a.Prefix(a.BitLen())
		}
		if err != nil {
			return nil, quote(raw) + " is not a network, such as 10.0.0.0/8 or 2001:db8::/32"
		}
		return []test{network{prefix.Masked()}}, ""
	case compare == "fieldref":
		if raw == "" || slices.Contains(strings.Split(raw, "."), "") {
			return nil, "fieldref takes the name of a field, not " + quote(raw)
		}
		return []test{reference{newField(raw), it.cased, comparisons[of]}}, ""
	}
	return it.patterns(raw)
}

// regular compiles a regular expression of RE2.
func (it *item) regular(raw string) (tests []test, fault string) {
	if len(it.flags) > 0 {
		raw = "(?" + strings.Join(it.flags, "") + ")" + raw
	}
	re, err := regexp.Compile(raw)
	if err != nil {
		return nil, "the regular expression is not one of RE2 (https://github.com/google/re2/wiki/Syntax): " + err.Error()
	}
	return []test{expression{re}}, ""
}

// patterns compiles a text with wildcards, in each of its forms.
func (it *item) patterns(raw string) (tests []test, fault string) {
	values := [][]token{tokens(raw)}
	for _, name := range it.transforms {
		var next [][]token
		for _, v := range values {
			more, fault := transform(name, v)
			if fault != "" {
				return nil, fault
			}
			next = append(next, more...)
		}
		values = next
	}
	for _, v := range values {
		wild := token{kind: anyRun}
		contains := it.compare == "contains" || it.compare == "" && it.field == nil
		if (contains || it.compare == "endswith") && (len(v) == 0 || v[0].kind != anyRun) {
			v = append([]token{wild}, v...)
		}
		if (contains || it.compare == "startswith") && (len(v) == 0 || v[len(v)-1].kind != anyRun) {
			v = append(slices.Clip(v), wild)
		}
		p := newPattern(v, it.cased)
		tests = append(tests, &p)
	}
	return tests, ""
}
