package config

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// extension begins the names of keys at the top of a file that are left alone: a place for
// anchored nodes, as in a Compose file.
const extension = "x-"

// mergeTag is that of the key <<, with a mapping or a list of mappings as its value. Their
// keys count where the section itself has none of the name, and those of an earlier mapping
// before those of a later one.
// https://yaml.org/type/merge.html
const mergeTag = "!!merge"

// walkedSection is a section while its keys are applied.
type walkedSection struct {
	*loader
	path  string
	at    func(*yaml.Node) Origin
	first map[string]*yaml.Node // by the name of a key: the one that counts
	seen  map[*yaml.Node]bool   // mappings that were applied: one that merges itself, or that many merge, counts once
}

// walk applies the keys of a mapping, then those of the mappings that it merges.
func (s *walkedSection) walk(mapping *yaml.Node) {
	s.seen[mapping] = true
	var merges []*yaml.Node
	own := map[string]*yaml.Node{}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		key, value := mapping.Content[i], mapping.Content[i+1]
		name := target(key).Value
		child := join(s.path, name)
		switch {
		case key.Tag == mergeTag:
			merges = append(merges, value)
			continue
		case s.extensions && s.path == "" && strings.HasPrefix(name, extension):
			continue
		case !s.fields.known(s.path, name):
			s.problem(s.at(key), "", "%s", s.fields.unknown(s.path, name))
			continue
		case own[name] != nil:
			s.problem(s.at(key), child, "is given twice, first in line %d", own[name].Line)
			continue
		}
		own[name] = key
		if s.first[name] == nil {
			s.first[name] = key
			s.loader.walk(child, value, s.at)
		}
	}
	for _, node := range merges {
		s.merge(node)
	}
}

// merge applies the mappings that << names.
func (s *walkedSection) merge(node *yaml.Node) {
	mappings := []*yaml.Node{node}
	if from := target(node); from.Kind == yaml.SequenceNode {
		mappings = from.Content
	}
	for _, m := range mappings {
		switch from := target(m); {
		case from.Kind != yaml.MappingNode:
			s.problem(s.at(m), "", "<< takes what an anchor names, such as <<: *common, not %s", nodeKind(from))
		case !s.seen[from]:
			s.walk(from)
		}
	}
}
