package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// field is one value that can be set, with the content of its tags.
type field struct {
	path   string // "kafka.brokers"
	kind   string
	value  reflect.Value
	help   string
	bounds string   // "1..10", "1s..", or empty
	one    []string // the values allowed, or empty
	shown  string   // the default as text, where the value does not show it
	secret bool
	opens  string // "read": the path of a file, "write": that of a directory
}

// fieldSet is all fields in the order of their structs, and the sections that hold them.
type fieldSet struct {
	list     []*field
	byPath   map[string]*field
	sections map[string]bool // "" and "kafka", with the keys below them
}

func newFieldSet() *fieldSet {
	return &fieldSet{byPath: map[string]*field{}, sections: map[string]bool{"": true}}
}

// addStruct adds the fields of the struct that p points to, below the section at path. A field without the tag
// is left out; an embedded struct's fields count as its own. A field of a type that no text can set is a mistake
// in the program, hence the panic.
func (s *fieldSet) addStruct(path, tag string, p any) {
	v := reflect.ValueOf(p)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		panic(fmt.Sprintf("config: %T is not a pointer to a struct", p))
	}
	s.sections[path] = true
	s.addFields(path, tag, v.Elem())
}

func (s *fieldSet) addFields(path, tag string, v reflect.Value) {
	for i := range v.NumField() {
		sf := v.Type().Field(i)
		name, _, _ := strings.Cut(sf.Tag.Get(tag), ",")
		switch {
		case sf.Anonymous && name == "" && sf.Type.Kind() == reflect.Struct:
			s.addFields(path, tag, v.Field(i))
		case name == "" || name == "-" || !sf.IsExported():
		case sf.Type.Kind() == reflect.Struct:
			s.addStruct(join(path, name), tag, v.Field(i).Addr().Interface())
		default:
			s.add(join(path, name), v.Field(i), sf.Tag)
		}
	}
}

// add adds one field. The first of two fields with the same path is kept: the rule's own parameter comes before
// one for every rule.
func (s *fieldSet) add(path string, v reflect.Value, tag reflect.StructTag) {
	kind, ok := kindOf(v.Type())
	if !ok {
		panic(fmt.Sprintf("config: the key %s has the type %s, which cannot be set", path, v.Type()))
	}
	if s.byPath[path] != nil {
		return
	}
	f := &field{
		path: path, kind: kind, value: v, help: tag.Get("help"), bounds: tag.Get("range"),
		one: strings.Fields(tag.Get("one")), shown: tag.Get("default"), secret: tag.Get("secret") == "true", opens: tag.Get("opens"),
	}
	s.list = append(s.list, f)
	s.byPath[path] = f
}

// below returns the names of the keys and sections directly below the section at path, sorted.
func (s *fieldSet) below(path string) []string {
	var names []string
	collect := func(p string) {
		if parent, name := split(p); p != "" && parent == path {
			names = append(names, name)
		}
	}
	for p := range s.byPath {
		collect(p)
	}
	for p := range s.sections {
		collect(p)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// check returns the problem that the field's value has by its own tags, or "".
func (f *field) check() string {
	if len(f.one) > 0 && !slices.Contains(f.one, f.value.String()) {
		text := fmt.Sprintf("%s is not one of %s", quote(f.value.String()), strings.Join(f.one, ", "))
		if near := Nearest(f.value.String(), f.one); near != "" {
			text += "; did you mean " + near + "?"
		}
		return text
	}
	if f.opens != "" && strings.HasPrefix(f.value.String(), "~") {
		return quote(f.value.String()) + " begins with ~, which shells alone replace by a home directory; write the path from / on"
	}
	least, most, ok := strings.Cut(f.bounds, "..")
	if !ok {
		return ""
	}
	if n, err := compareText(f.value, least); err != nil || n < 0 {
		return fmt.Sprintf("%s is too small; the least is %s", formatValue(f.value), least)
	}
	if most == "" {
		return ""
	}
	if n, err := compareText(f.value, most); err != nil || n > 0 {
		return fmt.Sprintf("%s is too large; the most is %s", formatValue(f.value), most)
	}
	return ""
}

// text returns the field's value as a file would have it, with secrets hidden.
func (f *field) text() string {
	if f.secret && f.value.String() != "" {
		return "(hidden)"
	}
	return formatValue(f.value)
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// split returns the section that the key at path is in, and the key's own name.
func split(path string) (section, name string) {
	i := strings.LastIndexByte(path, '.')
	return path[:max(i, 0)], path[i+1:]
}
