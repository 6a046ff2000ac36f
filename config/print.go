package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Print writes the effective configuration as YAML that Load reads again, each value with its origin as a comment.
// Secrets are hidden.
func (c *Config) Print(w io.Writer) error {
	root := &yaml.Node{Kind: yaml.MappingNode}
	sections := map[string]*yaml.Node{"": root}
	for _, f := range c.fields.list {
		if !c.printed(f) {
			continue
		}
		parent, name := split(f.path)
		node := f.node()
		node.LineComment = comment(c.origins[f.path])
		section(sections, parent).Content = append(section(sections, parent).Content, text(name), node)
	}
	var out bytes.Buffer // the encoder would hide w's error in one of its own
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := errors.Join(enc.Encode(root), enc.Close()); err != nil {
		return fmt.Errorf("print the configuration: %w", err)
	}
	_, err := w.Write(out.Bytes())
	return err
}

// Value is an effective value as Print has it.
type Value struct {
	Value  string `json:"value"`  // as the file would have it; secrets are hidden
	Origin string `json:"origin"` // as [Origin.String]
}

// Values returns the values that Print writes, by key.
func (c *Config) Values() map[string]Value {
	values := make(map[string]Value)
	for _, f := range c.fields.list {
		if c.printed(f) {
			values[f.path] = Value{Value: f.text(), Origin: c.origins[f.path].String()}
		}
	}
	return values
}

// printed tells which of a rule's switch and parameters appear: a rule that is off is the one word false, one that
// is on its parameters, or true when it has none.
func (c *Config) printed(f *field) bool {
	parent, name := split(f.path)
	if parent == "rules" {
		return !c.Rules[name] || !c.fields.hasFields(f.path)
	}
	if group, id := split(parent); group == "rules" {
		return c.Rules[id]
	}
	return true
}

func (s *fieldSet) hasFields(path string) bool {
	for _, f := range s.list {
		if parent, _ := split(f.path); parent == path {
			return true
		}
	}
	return false
}

// section returns the mapping for the section at path, and makes it and those above it on first use.
func section(sections map[string]*yaml.Node, path string) *yaml.Node {
	if node := sections[path]; node != nil {
		return node
	}
	parent, name := split(path)
	node := &yaml.Node{Kind: yaml.MappingNode}
	up := section(sections, parent)
	up.Content = append(up.Content, text(name), node)
	sections[path] = node
	return node
}

func (f *field) node() *yaml.Node {
	if f.kind != "list" {
		node := text(f.text())
		if f.kind != "text" {
			node.Tag, node.Style = "", 0
		}
		return node
	}
	list := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	for i := range f.value.Len() {
		list.Content = append(list.Content, text(f.value.Index(i).String()))
	}
	return list
}

// text is a string node; the encoder quotes it where another YAML type would be read.
func text(s string) *yaml.Node {
	var node yaml.Node
	node.SetString(s)
	return &node
}

// comment is an origin on one line, even if the name of the file has control characters.
func comment(o Origin) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 {
			return '?'
		}
		return r
	}, o.String())
}
