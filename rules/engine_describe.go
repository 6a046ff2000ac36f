package rules

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// describe writes the rules and all their parameters, in the order of their IDs, as
// one JSON object: {"access_denied":{"threshold":10,…},…}.
func describe(rules []*boundRule) []byte {
	sorted := slices.Clone(rules)
	slices.SortFunc(sorted, func(a, b *boundRule) int { return strings.Compare(a.info.ID, b.info.ID) })
	text := []byte{'{'}
	for i, r := range sorted {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(appendString(text, r.info.ID), ':')
		text = appendParameters(text, r.rule, false)
		if options := appendParameters(nil, r.options, false); len(options) > len("{}") {
			if text = text[:len(text)-1]; text[len(text)-1] != '{' {
				text = append(text, ',')
			}
			text = append(text, options[1:]...)
		}
	}
	return append(text, '}')
}

func fingerprint(description []byte) []byte {
	sum := sha256.Sum256(description)
	return sum[:]
}

// Change is one difference between two descriptions of rules.
type Change struct {
	Rule      string
	Parameter string // "": the rule was turned on or off
	From, To  string // values as the configuration has them, or "on" and "off"; "": there was, or is, no such parameter
}

// Changes returns the differences between two results of [Engine.Description], in the order
// of rules and parameters.
func Changes(before, after []byte) ([]Change, error) {
	var was, is map[string]map[string]json.RawMessage
	if err := json.Unmarshal(before, &was); err != nil {
		return nil, fmt.Errorf("description of rules: %w", err)
	}
	if err := json.Unmarshal(after, &is); err != nil {
		return nil, fmt.Errorf("description of rules: %w", err)
	}
	var list []Change
	for _, id := range bothKeys(was, is) {
		from, to := was[id], is[id]
		switch {
		case from == nil:
			list = append(list, Change{Rule: id, From: "off", To: "on"})
			continue
		case to == nil:
			list = append(list, Change{Rule: id, From: "on", To: "off"})
			continue
		}
		for _, name := range bothKeys(from, to) {
			if a, b := plainValue(from[name]), plainValue(to[name]); a != b {
				list = append(list, Change{Rule: id, Parameter: name, From: a, To: b})
			}
		}
	}
	return list, nil
}

func bothKeys[V any](a, b map[string]V) []string {
	keys := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(keys)
	return slices.Compact(keys)
}

// plainValue is a JSON value as text; of a string without its quotes.
func plainValue(v json.RawMessage) string {
	var s string
	if json.Unmarshal(v, &s) == nil {
		return s
	}
	return string(v)
}
