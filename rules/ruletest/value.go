package ruletest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"trailhound/rules/cloudtrail"
)

// object is a JSON object in the order in which it was written. The other
// values are those of encoding/json: []any, string, json.Number, bool and nil.
type object []member

type member struct {
	name  string
	value any
}

func (o object) index(name string) int {
	return slices.IndexFunc(o, func(m member) bool { return m.name == name })
}

// with returns the object with a member set; o stays as it is.
func (o object) with(name string, value any) object {
	o = slices.Clone(o)
	if i := o.index(name); i >= 0 {
		o[i].value = value
		return o
	}
	return append(o, member{name, value})
}

// merge returns o with the members of over, objects member by member.
func (o object) merge(over object) object {
	for _, m := range over {
		value := m.value
		if i := o.index(m.name); i >= 0 {
			below, ok := o[i].value.(object)
			more, both := value.(object)
			if ok && both {
				value = below.merge(more)
			}
		}
		o = o.with(m.name, value)
	}
	return o
}

// without returns the object without the member at the end of a dotted path; not
// ok: there is none.
func (o object) without(path string) (object, bool) {
	name, rest, nested := strings.Cut(path, ".")
	i := o.index(name)
	if i < 0 {
		return o, false
	}
	if !nested {
		return slices.Delete(slices.Clone(o), i, i+1), true
	}
	below, ok := o[i].value.(object)
	if !ok {
		return o, false
	}
	below, ok = below.without(rest)
	return o.with(name, below), ok
}

func (o object) names() []string {
	names := make([]string, len(o))
	for i, m := range o {
		names[i] = m.name
	}
	return names
}

// MarshalJSON keeps the order.
func (o object) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, m := range o {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, jsonOf(m.name)...), ':')
		b = append(b, jsonOf(m.value)...)
	}
	return append(b, '}'), nil
}

// jsonOf writes a value that value has read, which cannot fail.
func jsonOf(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'})
}

// plain is v with maps in place of objects, as encoding/json reads them.
func plain(v any) any {
	switch v := v.(type) {
	case object:
		m := make(map[string]any, len(v))
		for _, x := range v {
			m[x.name] = plain(x.value)
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = plain(v[i])
		}
		return list
	}
	return v
}

// afford counts the values of nodes. Aliases are followed: they may name a value many times
// over, or one that they stand in. False: there are more than a file may ask for.
func (r *reader) afford(nodes ...*yaml.Node) bool {
	for _, n := range nodes {
		if n == nil || r.nodesLeft < 0 {
			continue
		}
		if at := r.excess(n, 0); at != nil {
			r.problem(at, "the values of this file are too many, too long or too deep, with all that aliases name and each step has from above; "+
				"the most are %d, and %d inside each other", maxNodes, maxDepth)
			r.nodesLeft = -1 // said once
		}
	}
	return r.nodesLeft >= 0
}

// excess is the first value that is too much.
func (r *reader) excess(n *yaml.Node, depth int) *yaml.Node {
	if r.nodesLeft -= 1 + len(n.Value)/bytesPerNode; r.nodesLeft < 0 || depth > maxDepth {
		return n
	}
	if n.Kind == yaml.AliasNode {
		return r.excess(n.Alias, depth+1)
	}
	for _, below := range n.Content {
		if at := r.excess(below, depth+1); at != nil {
			return at
		}
	}
	return nil
}

// value reads the JSON value that a node stands for.
func (r *reader) value(n *yaml.Node) any {
	switch n.Kind {
	case yaml.AliasNode:
		return r.value(n.Alias)
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, item := range n.Content {
			list[i] = r.value(item)
		}
		return list
	case yaml.MappingNode:
		return r.object(n)
	}
	return r.scalar(n)
}

func (r *reader) object(n *yaml.Node) object {
	if len(n.Content)/2 > maxMembers {
		r.problem(n, "the mapping has %d members; the most are %d", len(n.Content)/2, maxMembers)
		return nil
	}
	o := make(object, 0, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		switch {
		case key.Kind != yaml.ScalarNode:
			r.problem(key, "a name is wanted here; quote it if it is one")
		case key.Tag == "!!merge":
			r.problem(key, "<< is not known here; put what several events share under event, at the head of the test or of the file")
		case o.index(key.Value) >= 0:
			r.problem(key, "%s is given twice", key.Value)
		default:
			value := r.value(n.Content[i+1])
			if _, ok := value.(json.Number); ok && r.inEvent && slices.Contains(digits, key.Value) {
				r.problem(n.Content[i+1], "%s is text in CloudTrail; quote it: %q", key.Value, n.Content[i+1].Value)
			}
			o = append(o, member{key.Value, value})
		}
	}
	return o
}

// digits are members of events that are text, and look like numbers: without
// quotes a rule would see nothing there.
var digits = []string{"accountId", "eventVersion", "recipientAccountId", "sharedEventID", "vpcEndpointAccountId"}

// scalar reads null, true, false and JSON's numbers as such, and all else as text.
func (r *reader) scalar(n *yaml.Node) any {
	switch n.Tag {
	case "!!null":
		return nil
	case "!!bool":
		if n.Value == "true" || n.Value == "false" {
			return n.Value == "true"
		}
	case "!!int", "!!float":
		if json.Valid([]byte(n.Value)) {
			return json.Number(n.Value)
		}
		r.problem(n, "%s is not a number as JSON writes it; quote it if it is text", n.Value)
	}
	return n.Value
}

// split cuts the text of a file into the records that Decode takes.
func split(data []byte) ([][]byte, error) {
	s := cloudtrail.Splitter{Reader: bytes.NewReader(data)}
	var records [][]byte
	for {
		record, err := s.Next()
		if errors.Is(err, io.EOF) {
			return records, nil
		}
		if err != nil {
			return nil, err
		}
		records = append(records, bytes.Clone(record))
	}
}
