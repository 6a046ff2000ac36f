package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"sort"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Input is the sources of a configuration.
type Input struct {
	Rules       []Rule   // the rules that the program knows; Load decodes parameters into their targets
	File        string   // path of a YAML file; empty: none
	Environment []string // "NAME=value" each, as os.Environ returns them
	Set         []string // "PATH=VALUE" each; of two for one key the last holds
	HostName    string   // for the default of instance_id
}

// Load merges the sources and checks the result. The error is Problems, and lists everything that is wrong, a file
// that cannot be read included.
func Load(in Input) (*Config, error) {
	c := Default()
	c.Rules = map[string]bool{}
	c.origins = map[string]Origin{}
	c.fields = newFieldSet()
	c.fields.addStruct("", "yaml", &c)
	switches := addRules(c.fields, in.Rules)
	c.sections = map[string]Origin{}
	l := loader{fields: c.fields, origins: c.origins, sections: c.sections}
	if in.File != "" {
		if data, err := os.ReadFile(in.File); err != nil {
			l.problem(Origin{}, "", "read the configuration: %s", err)
		} else {
			l.file(in.File, data)
		}
	}
	l.environment(in.Environment)
	for _, arg := range in.Set {
		l.flag(arg)
	}
	for id, on := range switches {
		c.Rules[id] = *on
	}
	if c.InstanceID == "" {
		c.InstanceID = instanceID(in.HostName, c.StateDir)
	}
	if len(l.problems) == 0 {
		l.problems = c.check()
	}
	if len(l.problems) > 0 {
		return nil, l.problems
	}
	return &c, nil
}

// loader applies one source after the other to the fields.
type loader struct {
	fields     *fieldSet
	origins    map[string]Origin
	sections   map[string]Origin // where the mapping of a section stands
	problems   Problems
	extensions bool // keys x-… at the top are left alone
}

func (l *loader) problem(at Origin, path, format string, args ...any) {
	l.problems = append(l.problems, &Problem{Origin: at, Path: path, Text: fmt.Sprintf(format, args...)})
}

// yamlLine is the head of an error of the YAML parser.
var yamlLine = regexp.MustCompile(`^yaml: (?:line \d+: )?`)

func (l *loader) file(name string, data []byte) {
	root, err := parse(data)
	if err != nil {
		l.problems = append(l.problems, syntaxProblem(name, data, err))
		return
	}
	l.extensions = true
	l.walk("", root, func(n *yaml.Node) Origin {
		return Origin{Source: FromFile, Name: name, Line: n.Line, Column: n.Column}
	})
}

// syntaxProblem finds the line at which the YAML parser gave up: the last one of the
// shortest beginning of the file that fails in the same way. The parser's own error has no
// line, or that of the list or mapping around it, counted from 0.
func syntaxProblem(file string, data []byte, err error) *Problem {
	lines := bytes.SplitAfter(data, []byte("\n"))
	before := sort.Search(len(lines)-1, func(n int) bool {
		_, cut := parse(bytes.Join(lines[:n+1], nil))
		return cut != nil && cut.Error() == err.Error()
	})
	at := Origin{Source: FromFile, Name: file, Line: before + 1, Column: 1}
	if tab := bytes.IndexByte(indentation(lines[before]), '\t'); tab >= 0 {
		at.Column = tab + 1
		return &Problem{Origin: at, Text: "a tab in the indentation; YAML takes spaces alone there"}
	}
	return &Problem{Origin: at, Text: clip(yamlLine.ReplaceAllString(err.Error(), ""))}
}

// indentation is the white space at the beginning of a line.
func indentation(line []byte) []byte { return line[:len(line)-len(bytes.TrimLeft(line, " \t"))] }

// parse reads the one YAML document of a file; an empty file is an empty mapping.
func parse(data []byte) (*yaml.Node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return &yaml.Node{Kind: yaml.MappingNode}, nil
	}
	if err != nil {
		return nil, err
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more than one YAML document; write one")
	}
	return doc.Content[0], nil
}

// walk applies node to the key or section at path. A key without a value counts as absent.
func (l *loader) walk(path string, node *yaml.Node, at func(*yaml.Node) Origin) {
	where := at(node)
	node = target(node)
	switch {
	case isNull(node):
	case node.Kind == yaml.MappingNode && l.fields.sections[path]:
		l.sections[path] = where
		section := walkedSection{loader: l, path: path, at: at, first: map[string]*yaml.Node{}, seen: map[*yaml.Node]bool{}}
		section.walk(node)
	case l.fields.byPath[path] != nil:
		l.set(l.fields.byPath[path], node, where)
	default:
		l.problem(where, path, "keys are wanted here (%s), not %s", strings.Join(l.fields.below(path), ", "), nodeKind(node))
	}
}

// known reports whether the section has a key or section of that name. A dot in a name is not a path.
func (s *fieldSet) known(section, name string) bool {
	path := join(section, name)
	return name != "" && !strings.Contains(name, ".") && (s.byPath[path] != nil || s.sections[path])
}

func (l *loader) set(f *field, node *yaml.Node, at Origin) {
	next := reflect.New(f.value.Type()).Elem()
	if err := setValue(next, node); err != nil {
		l.problem(at, f.path, "%s", err)
		return
	}
	f.value.Set(next)
	l.origins[f.path] = at
}

// flag applies one PATH=VALUE. The value of a section is YAML: rules.access_denied={threshold: 5}.
func (l *loader) flag(arg string) {
	path, value, ok := strings.Cut(arg, "=")
	at := Origin{Source: FromFlag, Name: path}
	if !ok {
		// The rest of arg may be a password, behind another sign than =.
		if end := strings.IndexFunc(path, func(r rune) bool { return r >= 0x80 || !legalByte(byte(r)) }); end >= 0 {
			at.Name = path[:end] + "…"
		}
		l.problem(at, "", "a value is missing; write PATH=VALUE, such as shards=4")
		return
	}
	section, name := split(path)
	switch f := l.fields.byPath[path]; {
	case !l.fields.sections[section]:
		l.problem(at, "", "%s", l.fields.unknownPath(path))
	case !l.fields.known(section, name):
		l.problem(at, "", "%s", l.fields.unknown(section, name))
	case f != nil && (!l.fields.sections[path] || !strings.HasPrefix(strings.TrimSpace(value), "{")):
		l.text(f, value, at)
	default:
		node, err := parse([]byte(value))
		if err != nil {
			l.problem(at, "", "its value is not YAML; write it as {key: value}") // unseen: there may be a password in it
			return
		}
		l.walk(path, node, func(*yaml.Node) Origin { return at })
	}
}

// text applies a value that came as plain text: nothing in it is YAML, but a list may be written as one.
func (l *loader) text(f *field, value string, at Origin) {
	node := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value}
	if f.kind == "list" {
		var err error
		if node, err = listNode(value); err != nil {
			l.problem(at, f.path, "%s is not a list; write a,b or [a, b]", quote(value))
			return
		}
	}
	l.set(f, node, at)
}

// addressInBrackets matches an IPv6 address as it is written before a port (RFC 3986, 3.2.2), at the start.
var addressInBrackets = regexp.MustCompile(`^["']?\[([0-9A-Fa-f.]*:){2,}[0-9A-Fa-f.]*(%[\w.-]+)?\](:|["',]|\s|$)`)

// listNode reads a,b or the YAML list [a, b]. In either, [::1]:9092 is an address, and no list in a list.
func listNode(value string) (*yaml.Node, error) {
	value = strings.TrimSpace(value)
	inner, bracketed := strings.CutPrefix(value, "[")
	if bracketed && !addressInBrackets.MatchString(value) {
		inner, closed := strings.CutSuffix(inner, "]")
		if !closed || !slices.ContainsFunc(strings.Split(inner, ","), func(item string) bool { return addressInBrackets.MatchString(strings.TrimSpace(item)) }) {
			return parse([]byte(value))
		}
		value = inner
	} else {
		bracketed = false
	}
	list := &yaml.Node{Kind: yaml.SequenceNode}
	for item := range strings.SplitSeq(value, ",") {
		item = strings.TrimSpace(item)
		if bracketed {
			item = unquoted(item)
		}
		if item != "" {
			list.Content = append(list.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: item})
		}
	}
	return list, nil
}

// unquoted takes the quotes of a YAML list off an item.
func unquoted(item string) string {
	if n := len(item); n >= 2 && (item[0] == '\'' || item[0] == '"') && item[n-1] == item[0] {
		return item[1 : n-1]
	}
	return item
}

// unknownPath says at which step a path leaves the known keys.
func (s *fieldSet) unknownPath(path string) string {
	section := ""
	for name := range strings.SplitSeq(path, ".") {
		if !s.known(section, name) {
			return s.unknown(section, name)
		}
		section = join(section, name)
		if !s.sections[section] {
			return "unknown key " + quoteOdd(path) + "; " + section + " has no keys below it"
		}
	}
	return "unknown key " + quoteOdd(path)
}

// instanceID is a name that is the same whenever the same host opens the same directory, in the characters that
// Kafka allows for group.instance.id.
func instanceID(host, stateDir string) string {
	if abs, err := filepath.Abs(stateDir); err == nil {
		stateDir = abs
	}
	if host == "" {
		host = "instance"
	}
	sum := sha256.Sum256([]byte(stateDir))
	return legalName(host, 200) + "-" + hex.EncodeToString(sum[:4])
}
