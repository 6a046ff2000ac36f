package rules

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"trailhound/config/duration"
)

// A Parameter describes one parameter of a rule, as its struct field is tagged.
type Parameter struct {
	Name    string
	Type    string // boolean, integer, string, list of strings or duration
	Default string // as it would stand in the configuration
	Help    string // its effect, in a few words
	Alert   bool   // its value is shown in the rule's alerts
}

// Parameters describes the parameters of target in the order of its fields:
// the fields with a param tag of a struct, or of the struct it points to. The
// defaults are the values that target has. See [Spec] for the tags.
func Parameters(target any) []Parameter {
	var list []Parameter
	for field := range parameterFields(target) {
		list = append(list, Parameter{
			Name:    field.name,
			Type:    typeName(field.value.Type()),
			Default: field.text(),
			Help:    field.help,
			Alert:   field.alert,
		})
	}
	return list
}

// parameterField is a tagged field of a rule. Reflection happens only when an
// engine is made, never on the path of an event.
type parameterField struct {
	name, help string
	alert      bool
	value      reflect.Value
}

func parameterFields(target any) func(yield func(parameterField) bool) {
	return func(yield func(parameterField) bool) {
		v := reflect.Indirect(reflect.ValueOf(target))
		if v.Kind() != reflect.Struct {
			return // a rule without parameters need not be a struct
		}
		for i := range v.NumField() {
			tag, ok := v.Type().Field(i).Tag.Lookup("param")
			if !ok {
				continue
			}
			name, option, _ := strings.Cut(tag, ",")
			f := parameterField{name: name, help: v.Type().Field(i).Tag.Get("help"), alert: option == "alert", value: v.Field(i)}
			if !yield(f) {
				return
			}
		}
	}
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	stringsType  = reflect.TypeFor[[]string]()
)

// typeName is the type as people know it, or "" for one that a parameter
// cannot have.
func typeName(t reflect.Type) string {
	switch {
	case t == durationType:
		return "duration"
	case t == stringsType:
		return "list of strings"
	}
	switch t {
	case reflect.TypeFor[bool]():
		return "boolean"
	case reflect.TypeFor[int](), reflect.TypeFor[int64]():
		return "integer"
	case reflect.TypeFor[string]():
		return "string"
	}
	return ""
}

// supported says which field of target cannot be a parameter.
func supported(target any) error {
	names := map[string]bool{}
	for f := range parameterFields(target) {
		switch {
		case f.name == "" || names[f.name]:
			return fmt.Errorf("parameter %q is not named, or named twice; give each param tag a name of its own", f.name)
		case !f.value.CanInterface():
			return fmt.Errorf("parameter %s is an unexported field; export it, so that the configuration can set it", f.name)
		case typeName(f.value.Type()) == "":
			return fmt.Errorf("parameter %s is a %s; it must be a bool, int, int64, string, []string or time.Duration", f.name, f.value.Type())
		}
		names[f.name] = true
		if f.value.Type() == durationType {
			names[f.name+secondsOf] = true // of the member that alerts have beside it
		}
	}
	return nil
}

// text is the value as it would stand in the configuration.
func (f parameterField) text() string {
	switch f.value.Kind() {
	case reflect.Slice:
		return "[" + strings.Join(f.value.Interface().([]string), ", ") + "]"
	case reflect.Int64:
		if f.value.Type() == durationType {
			return duration.Format(time.Duration(f.value.Int()))
		}
	}
	return fmt.Sprint(f.value.Interface())
}

// appendParameters appends the parameters of target as one JSON object: all of
// them, or those that alerts show, there with durations in seconds, too.
func appendParameters(dst []byte, target any, alertOnly bool) []byte {
	dst = append(dst, '{')
	first := true
	for f := range parameterFields(target) {
		if alertOnly && !f.alert {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(appendString(dst, f.name), ':')
		dst = f.appendJSON(dst)
		if alertOnly && f.value.Type() == durationType {
			dst = appendSeconds(append(dst, ','), f.name, time.Duration(f.value.Int()))
		}
	}
	return append(dst, '}')
}

func (f parameterField) appendJSON(dst []byte) []byte {
	switch v := f.value; v.Kind() {
	case reflect.Bool:
		return strconv.AppendBool(dst, v.Bool())
	case reflect.Slice:
		return appendStrings(dst, v.Interface().([]string))
	case reflect.String:
		return appendString(dst, v.String())
	default:
		if v.Type() == durationType {
			return appendString(dst, duration.Format(time.Duration(v.Int())))
		}
		return strconv.AppendInt(dst, v.Int(), 10)
	}
}
