package config

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"trailhound/config/duration"
)

// Bytes is a number of bytes, written with a unit: 256MiB is 256 × 1024², 256MB is 256 × 1000².
type Bytes int64

// byteUnits are all units of Bytes, in the order in which String tries them. B is last: it is a suffix of the others.
var byteUnits = []struct {
	name string
	size int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"B", 1},
}

// String returns the number with the largest unit that divides it, a binary one before a decimal one.
func (b Bytes) String() string {
	for _, unit := range byteUnits {
		if b != 0 && int64(b)%unit.size == 0 {
			return strconv.FormatInt(int64(b)/unit.size, 10) + unit.name
		}
	}
	return strconv.FormatInt(int64(b), 10) + "B"
}

// ParseBytes reads a number of bytes with a unit (B, KB, MB, GB, TB, KiB, MiB, GiB, TiB) or without.
func ParseBytes(s string) (Bytes, error) {
	digits, size := strings.TrimSpace(s), int64(1)
	for _, unit := range byteUnits {
		if rest, ok := strings.CutSuffix(digits, unit.name); ok {
			digits, size = strings.TrimSpace(rest), unit.size
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/size {
		return 0, fmt.Errorf("%s is not a size; write one such as 256MiB", quote(s))
	}
	return Bytes(n * size), nil
}

// ParseDuration reads a duration as time.ParseDuration does, and days ("7d", "1d12h", "0.5d") of 24 hours.
func ParseDuration(s string) (time.Duration, error) {
	wrong := fmt.Errorf("%s is not a duration; write one such as 90s, 1h30m or 7d", quote(s))
	text, sign := strings.TrimSpace(s), int64(1)
	if rest, ok := strings.CutPrefix(text, "-"); ok {
		text, sign = rest, -1
	}
	days, rest, ok := strings.Cut(text, "d")
	if !ok {
		days, rest = "0", text
	}
	if ok && rest == "" {
		rest = "0"
	}
	// Exact arithmetic: a float64 of nanoseconds is off by some at spans of months.
	if len(days) > 32 || strings.Trim(days, "0123456789.") != "" {
		return 0, wrong
	}
	n, ok := new(big.Rat).SetString(days)
	if !ok {
		return 0, wrong
	}
	n.Mul(n, big.NewRat(int64(24*time.Hour), 1))
	span := new(big.Int).Quo(n.Num(), n.Denom())
	d, err := time.ParseDuration(rest)
	if err != nil || strings.HasPrefix(rest, "-") || !span.IsInt64() || span.Int64() > math.MaxInt64-int64(d) {
		return 0, wrong
	}
	return time.Duration(sign * (span.Int64() + int64(d))), nil
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	bytesType    = reflect.TypeFor[Bytes]()
	nodeType     = reflect.TypeFor[*yaml.Node]()
)

// kindOf names the kind of value that a field of type t takes, and tells whether it is one that can be set.
func kindOf(t reflect.Type) (string, bool) {
	switch {
	case t == durationType:
		return "duration", true
	case t == bytesType:
		return "size", true
	case t == nodeType:
		return "anything", true
	case t.Kind() == reflect.Bool:
		return "true or false", true
	case t.Kind() == reflect.Int, t.Kind() == reflect.Int64:
		return "number", true
	case t.Kind() == reflect.String:
		return "text", true
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.String:
		return "list", true
	}
	return "", false
}

// setValue decodes node into v, of a type that kindOf knows.
func setValue(v reflect.Value, node *yaml.Node) error {
	if v.Type() == nodeType {
		v.Set(reflect.ValueOf(node))
		return nil
	}
	if v.Kind() == reflect.Slice {
		return setList(v, node)
	}
	if node.Kind != yaml.ScalarNode {
		kind, _ := kindOf(v.Type())
		return fmt.Errorf("one value is wanted (%s), not %s", kind, nodeKind(node))
	}
	return setScalar(v, node.Value)
}

func setScalar(v reflect.Value, text string) error {
	switch {
	case v.Type() == durationType:
		d, err := ParseDuration(text)
		v.SetInt(int64(d))
		return err
	case v.Type() == bytesType:
		n, err := ParseBytes(text)
		v.SetInt(int64(n))
		return err
	}
	switch v.Kind() {
	case reflect.Bool:
		if text != "true" && text != "false" {
			return fmt.Errorf("%s is neither true nor false; write %s", quote(text), meant(text))
		}
		v.SetBool(text == "true")
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if errors.Is(err, strconv.ErrRange) {
			return fmt.Errorf("%s is too large a number", clip(text))
		}
		if err != nil {
			return fmt.Errorf("%s is not a whole number", quote(text))
		}
		v.SetInt(n)
	default:
		v.SetString(text)
	}
	return nil
}

// meant is the spelling to suggest for a switch that was given in another word of YAML 1.1.
// https://yaml.org/type/bool.html
func meant(text string) string {
	switch strings.ToLower(text) {
	case "yes", "y", "on", "true", "1":
		return "true"
	case "no", "n", "off", "false", "0":
		return "false"
	}
	return "true or false"
}

// setList decodes a sequence of scalars; one scalar stands for a list of one.
func setList(v reflect.Value, node *yaml.Node) error {
	items := []*yaml.Node{node}
	if node.Kind == yaml.SequenceNode {
		items = node.Content
	}
	list := reflect.MakeSlice(v.Type(), 0, len(items))
	for _, item := range items {
		item = target(item)
		if item.Kind != yaml.ScalarNode || isNull(item) {
			return fmt.Errorf("a list of values is wanted, such as [a, b], not %s", nodeKind(item))
		}
		list = reflect.Append(list, reflect.ValueOf(item.Value).Convert(v.Type().Elem()))
	}
	v.Set(list)
	return nil
}

// formatValue returns v as its file would have it.
func formatValue(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return duration.Format(x)
	case Bytes:
		return x.String()
	}
	if v.Kind() != reflect.Slice {
		return fmt.Sprint(v.Interface())
	}
	items := make([]string, v.Len())
	for i := range items {
		items[i] = v.Index(i).String()
	}
	return "[" + strings.Join(items, ", ") + "]"
}

// compareText compares v with a bound of the same kind written as text.
func compareText(v reflect.Value, text string) (int, error) {
	bound := reflect.New(v.Type()).Elem()
	if err := setScalar(bound, text); err != nil {
		return 0, err
	}
	return cmp.Compare(v.Int(), bound.Int()), nil
}

// target follows a YAML alias to the node that it names.
func target(node *yaml.Node) *yaml.Node {
	for node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	return node
}

func isNull(node *yaml.Node) bool { return node.Kind == yaml.ScalarNode && node.Tag == "!!null" }

// nodeKind names the kind of a node, for an error's sentence.
func nodeKind(node *yaml.Node) string {
	switch {
	case node.Kind == yaml.MappingNode:
		return "keys below it"
	case node.Kind == yaml.SequenceNode:
		return "a list"
	case isNull(node):
		return "nothing"
	}
	return fmt.Sprintf("the value %s", quote(node.Value))
}
