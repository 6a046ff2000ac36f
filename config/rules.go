package config

import (
	"reflect"

	"go.yaml.in/yaml/v3"
)

// Rule describes a rule to the configuration: its name and its parameters.
type Rule struct {
	ID string
	// Targets are pointers to structs with the rule's parameters, which hold the defaults. A parameter is a field
	// with a tag param:"name" of the type bool, int, int64, string, []string, time.Duration or Bytes; the tags
	// help, range and one are as for Config.
	Targets []any
}

// addRules adds the parameters of the rules, and a switch for each, all on.
func addRules(s *fieldSet, rules []Rule) map[string]*bool {
	s.sections["rules"] = true
	switches := make(map[string]*bool, len(rules))
	for _, r := range rules {
		path, on := join("rules", r.ID), true
		switches[r.ID] = &on
		s.add(path, reflect.ValueOf(&on).Elem(), "")
		for _, t := range r.Targets {
			s.addStruct(path, "param", t)
		}
		s.sections[path] = true
	}
	return switches
}

// ParseYAML reads the one YAML document of a file; an empty file is an empty mapping. The error is Problems.
func ParseYAML(file string, data []byte) (*yaml.Node, error) {
	root, err := parse(data)
	if err != nil {
		return nil, Problems{syntaxProblem(file, data, err)}
	}
	return root, nil
}

// DecodeParams decodes the mapping in node, which is from this file, strictly into the
// structs that targets point to, as Load does with the parameters of a rule (see Rule). A
// field of type *yaml.Node takes any node. The error is Problems.
func DecodeParams(file string, node *yaml.Node, targets ...any) error {
	l := loader{fields: newFieldSet(), origins: map[string]Origin{}, sections: map[string]Origin{}}
	for _, t := range targets {
		l.fields.addStruct("", "param", t)
	}
	if node != nil && node.Kind == yaml.DocumentNode {
		node = node.Content[0]
	}
	if node != nil {
		l.walk("", node, func(n *yaml.Node) Origin {
			return Origin{Source: FromFile, Name: file, Line: n.Line, Column: n.Column}
		})
	}
	for _, f := range l.fields.list {
		if text := f.check(); text != "" {
			l.problem(l.origins[f.path], f.path, "%s", text)
		}
	}
	if len(l.problems) > 0 {
		return l.problems
	}
	return nil
}
