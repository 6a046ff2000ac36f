package config

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Schema returns a JSON Schema (draft 2020-12) of the configuration file, for editors:
// every key with its meaning, its default and the values it takes. A file that it refuses,
// Load refuses too; Load knows more, such as which keys fit together.
func Schema(rules []Rule) ([]byte, error) {
	c := Default()
	s := newFieldSet()
	s.addStruct("", "yaml", &c)
	addRules(s, rules)
	root := s.schemaOf("")
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "trailhound configuration"
	root["patternProperties"] = map[string]any{"^" + extension: map[string]any{"description": "Left alone: a place for what YAML anchors name."}}
	out, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the schema: %w", err)
	}
	return append(out, '\n'), nil
}

// schemaOf returns the schema of the section at path.
func (s *fieldSet) schemaOf(path string) map[string]any {
	properties := make(map[string]any)
	for _, name := range s.below(path) {
		at := join(path, name)
		f, section := s.byPath[at], s.sections[at]
		switch {
		case f != nil && section: // a rule: its switch, or its parameters
			properties[name] = map[string]any{"anyOf": []any{map[string]any{"type": "boolean"}, s.schemaOf(at)}}
		case section:
			properties[name] = s.schemaOf(at)
		default:
			properties[name] = f.schema()
		}
	}
	return map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
}

const (
	durationPattern = `^-?([0-9.]+d)?([0-9.]+(ns|us|µs|ms|s|m|h))*0?$`
	sizePattern     = `^[0-9]+ *([KMGT]i?)?B?$`
)

// schema returns the schema of one value, in the forms in which YAML has it.
func (f *field) schema() map[string]any {
	out := make(map[string]any)
	if f.help != "" {
		out["description"] = f.meaning()
	}
	switch f.kind {
	case "true or false":
		out["type"], out["default"] = "boolean", f.value.Bool()
	case "number":
		out["type"], out["default"] = "integer", f.value.Int()
		least, most, _ := strings.Cut(f.bounds, "..")
		if n, err := strconv.ParseInt(least, 10, 64); err == nil {
			out["minimum"] = n
		}
		if n, err := strconv.ParseInt(most, 10, 64); err == nil {
			out["maximum"] = n
		}
	case "duration":
		out["type"], out["pattern"], out["default"] = []any{"string", "integer"}, durationPattern, formatValue(f.value)
		out["minimum"], out["maximum"] = 0, 0 // a number without a unit can only be zero
	case "size":
		out["type"], out["pattern"], out["default"] = []any{"string", "integer"}, sizePattern, formatValue(f.value)
	case "list":
		items := make([]any, f.value.Len())
		for i := range items {
			items[i] = f.value.Index(i).String()
		}
		out["type"], out["default"] = []any{"array", "string"}, items
		out["items"] = map[string]any{"type": []any{"string", "number"}}
	default:
		if len(f.one) > 0 {
			out["enum"] = f.one
		} else {
			out["type"] = []any{"string", "number"}
		}
		if f.opens != "" {
			out["pattern"] = `^($|[^~])`
		}
		if value := f.value.String(); value != "" {
			out["default"] = value
		}
	}
	return out
}
