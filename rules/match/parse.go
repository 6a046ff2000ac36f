package match

import (
	"fmt"

	yaml "go.yaml.in/yaml/v3"
)

// Options are what an expression needs from outside.
type Options struct {
	// Lists are the values for %NAME% in values with the modifier expand.
	Lists map[string][]string
}

// Bounds of one expression, so that a file of a stranger compiles in bounded time and space.
const (
	mostNodes    = 20_000 // nodes of the YAML, those behind an alias counted at each use
	mostTests    = 20_000 // values compared, once windash, base64offset and expand have made them more
	mostNesting  = 64
	longestValue = 1 << 10 // bytes of a value and of a condition
)

// Parse compiles a selection: a mapping of fields to values, all of which have to hold; a
// sequence of such mappings, one of which has to; or a sequence of keywords. In a mapping,
// the member "not" negates the selection under it. A mapping with the member "condition" has
// named selections instead, which the condition combines.
//
// The error is an [Error], which says where the fault is; the caller knows the file.
func Parse(n *yaml.Node, o Options) (*Expr, []Warning, error) {
	p := &parser{lists: o.Lists}
	if n.Kind == yaml.DocumentNode && len(n.Content) == 1 {
		n = n.Content[0]
	}
	x, err := p.selection(n, 0)
	if err != nil {
		return nil, nil, err
	}
	return x, p.warnings, nil
}

type parser struct {
	lists    map[string][]string
	nodes    int // read so far
	compared int // tests made so far
	warnings []Warning
}

func fault(n *yaml.Node, format string, args ...any) error {
	return &Error{max(n.Line, 1), max(n.Column, 1), fmt.Sprintf(format, args...)}
}

// enter resolves an alias and counts the node.
func (p *parser) enter(n *yaml.Node, depth int) (*yaml.Node, error) {
	p.nodes++
	switch {
	case p.nodes > mostNodes:
		return nil, fault(n, "the selection has more than %d YAML nodes; split the rule", mostNodes)
	case depth > mostNesting:
		return nil, fault(n, "the selection is nested more than %d deep", mostNesting)
	case n.Kind == yaml.AliasNode:
		return p.enter(n.Alias, depth+1)
	}
	return n, nil
}

// selection is a mapping, or a sequence of mappings or of keywords, or one keyword.
func (p *parser) selection(n *yaml.Node, depth int) (*Expr, error) {
	n, err := p.enter(n, depth)
	if err != nil {
		return nil, err
	}
	switch {
	case n.Kind == yaml.MappingNode:
		return p.mapping(n, depth)
	case n.Kind == yaml.SequenceNode && len(n.Content) > 0:
		return p.alternatives(n, depth)
	case n.Kind == yaml.ScalarNode && n.Tag != nullTag:
		return p.item(item{}, n, depth)
	}
	return nil, fault(n, "an empty selection; write fields with their values, as in eventName: ConsoleLogin")
}

// alternatives is a sequence of mappings, or of keywords.
func (p *parser) alternatives(n *yaml.Node, depth int) (*Expr, error) {
	x := &Expr{op: or}
	for _, c := range n.Content {
		c, err := p.enter(c, depth+1)
		if err != nil {
			return nil, err
		}
		if (c.Kind == yaml.ScalarNode) != (n.Content[0].Kind == yaml.ScalarNode) {
			return nil, fault(c, "a list of selections is of mappings, or of keywords, not of both")
		}
		if c.Kind == yaml.SequenceNode {
			return nil, fault(c, "a list in a list of selections; write one list")
		}
		k, err := p.selection(c, depth+1)
		if err != nil {
			return nil, err
		}
		x.kids = append(x.kids, k)
	}
	return x, nil
}

// members yields the members of a mapping. A name that comes twice is a fault: one of the
// two would be ignored.
func (p *parser) members(n *yaml.Node, depth int, each func(name string, key, value *yaml.Node) error) error {
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, err := p.enter(n.Content[i], depth)
		if err != nil {
			return err
		}
		switch {
		case key.Kind != yaml.ScalarNode || key.Tag == nullTag:
			return fault(key, "a name is wanted, such as eventName")
		case key.Tag == mergeTag:
			return fault(key, "merging with << is not supported; write the fields out")
		case seen[key.Value]:
			return fault(key, "%s comes twice; write its values as a list, or use |all", quote(key.Value))
		}
		seen[key.Value] = true
		if err := each(key.Value, key, n.Content[i+1]); err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) mapping(n *yaml.Node, depth int) (*Expr, error) {
	if len(n.Content) == 0 {
		return nil, fault(n, "an empty selection; write fields with their values, as in eventName: ConsoleLogin")
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == "condition" {
			return p.detection(n, depth)
		}
	}
	x := &Expr{op: and}
	err := p.members(n, depth, func(name string, key, value *yaml.Node) error {
		k, err := p.member(name, key, value, depth)
		x.kids = append(x.kids, k)
		return err
	})
	if len(x.kids) == 1 {
		return x.kids[0], err
	}
	return x, err
}

func (p *parser) member(name string, key, value *yaml.Node, depth int) (*Expr, error) {
	if name == "not" {
		k, err := p.selection(value, depth+1)
		return &Expr{op: not, kids: []*Expr{k}}, err
	}
	it, wrong := parseItem(name)
	if wrong != "" {
		return nil, fault(key, "%s", wrong)
	}
	return p.item(it, value, depth)
}

// detection is a mapping of named selections, and the condition that combines them.
func (p *parser) detection(n *yaml.Node, depth int) (*Expr, error) {
	c := condition{selections: map[string]*Expr{}, used: map[string]bool{}}
	var text *yaml.Node
	keys := map[string]*yaml.Node{}
	err := p.members(n, depth, func(name string, key, value *yaml.Node) error {
		switch name {
		case "condition":
			text = value
			return nil
		case "timeframe":
			return fault(key, "timeframe belongs to aggregations of old Sigma; write a correlation")
		case "and", "or", "not":
			return fault(key, "%s is a word of conditions; call the selection otherwise", name)
		}
		x, err := p.selection(value, depth+1)
		c.names = append(c.names, name)
		c.selections[name], keys[name] = x, key
		return err
	})
	if err != nil {
		return nil, err
	}
	x, err := p.conditions(&c, text, depth)
	if err != nil {
		return nil, err
	}
	for _, name := range c.names {
		if !c.used[name] {
			p.warnings = append(p.warnings, Warning{keys[name].Line, keys[name].Column,
				fmt.Sprintf("the condition does not use the selection %s", quote(name))})
		}
	}
	return x, nil
}

// conditions is one condition, or a list of them, one of which has to hold.
func (p *parser) conditions(c *condition, n *yaml.Node, depth int) (*Expr, error) {
	n, err := p.enter(n, depth+1)
	if err != nil {
		return nil, err
	}
	list := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		list = n.Content
	}
	x := &Expr{op: or}
	for _, one := range list {
		if one, err = p.enter(one, depth+1); err != nil {
			return nil, err
		}
		if one.Kind != yaml.ScalarNode || one.Tag == nullTag {
			return nil, fault(one, "a condition is a text, such as: selection and not filter")
		}
		k, wrong := c.parse(one.Value)
		if wrong != "" {
			return nil, fault(one, "%s", wrong)
		}
		x.kids = append(x.kids, k)
	}
	switch len(x.kids) {
	case 0:
		return nil, fault(n, "an empty list of conditions")
	case 1:
		return x.kids[0], nil
	}
	return x, nil
}
