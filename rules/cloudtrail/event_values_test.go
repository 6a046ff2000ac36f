package cloudtrail

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"trailhound/rules/cloudtrail/internal/jsonscan"
	"trailhound/rules/cloudtrail/internal/jsontest"
)

func TestAppendValues(t *testing.T) {
	str := func(texts ...string) (values []Value) {
		for _, s := range texts {
			values = append(values, Value{StringValue, s})
		}
		return values
	}
	const absent = "absent"
	for _, c := range []struct {
		event string
		path  string // names between dots; "" is the empty path
		want  any    // []Value or absent
	}{
		{`{"a":"x"}`, "a", str("x")},
		{`{"a":"\u0078\n"}`, "a", str("x\n")},
		{`{"\u0061":"x"}`, "a", str("x")},
		{`{"a":""}`, "a", str("")},
		{`{"a": -1.50E+2 }`, "a", []Value{{NumberValue, "-1.50E+2"}}},
		{`{"a":true}`, "a", []Value{{BoolValue, "true"}}},
		{`{"a":false}`, "a", []Value{{BoolValue, "false"}}},
		{`{"a":null}`, "a", []Value{{NullValue, ""}}},
		{`{"a":1}`, "b", absent},
		{`{"a":1}`, "a.b", absent},
		{`{"a":null}`, "a.b", absent},
		{`{"a":[]}`, "a", str()},
		{`{"a":[ [ ] , [[]]]}`, "a", str()},
		{`{"a":[]}`, "a.b", absent},
		{`{"a":{}}`, "a", str()},
		{`{"a":{"b":1}}`, "a", str()},
		{`{"a":[1,"x",null,[true,["y"]],{"b":["z",2,{"c":"w"}]}]}`, "a", []Value{
			{NumberValue, "1"}, {StringValue, "x"}, {NullValue, ""}, {BoolValue, "true"}, {StringValue, "y"}, {StringValue, "z"}, {StringValue, "w"},
		}},
		{`{"a":[{"b":"x"},{"c":"y"},3,[[{"b":["z",4]}]]]}`, "a.b", []Value{{StringValue, "x"}, {StringValue, "z"}, {NumberValue, "4"}}},
		{`{"a":[{"b":[]},{"c":"y"}]}`, "a.b", str()},
		{`{"a":[{"c":"y"}]}`, "a.b", absent},
		{`{"a":["x",["y","z"]]}`, "a.1", str("y", "z")},
		{`{"a":["x",["y","z"]]}`, "a.1.0", str("y")},
		{`{"a":["x",["y","z"]]}`, "a.2", absent},
		{`{"a":[{"5":"x"}]}`, "a.5", absent},
		{`{"a":{"5":"x"}}`, "a.5", str("x")},
		{`{"a":[{"111122223333":"x"}]}`, "a.111122223333", str("x")},
		{`{"a":[{"+0":"x"}]}`, "a.+0", str("x")},
		{`{"a":"x","a":"y"}`, "a", str("y")},
		{`{"a":{"b":"x"},"a":{"c":"y"}}`, "a.b", absent},
		{`{"a":{"b":"x","c":"y","\u0062":"z","b":7}}`, "a", str("y")},
		{`{"a":{"b":["x",{"d":"1","d":"2"}],"c":"y","b":{"d":"z"},"d":"w"}}`, "a", str("y", "z", "w")},
		{`{"a":{"b":"x","c":{"b":"y"},"d":[{"b":"z"}]}}`, "a", str("x", "y", "z")},
		{`{"a":"{\"b\":[\"x\",{\"c\":1}]}"}`, "a.b.c", []Value{{NumberValue, "1"}}},
		{`{"a":" [{\"b\":\"x\"}] "}`, "a.b", str("x")},
		{`{"a":["{\"b\":\"x\"}","{\"b\":\"y\"}","{"]}`, "a.b", str("x", "y")},
		{`{"a":"[\"{\\\"b\\\":1}\"]"}`, "a.b", absent}, // two strings for one name
		{`{"a":"[\"{\\\"b\\\":1}\"]"}`, "a.0.b", []Value{{NumberValue, "1"}}},
		{`{"a":"[1,2"}`, "a.0", absent},
		{`{"a":"{\"b\":1}"}`, "a", str(`{"b":1}`)},
		{`{"a":["[1]",{"b":"{\"c\":1}"}]}`, "a", str("[1]", `{"c":1}`)},
		{`{"userIdentity":"{\"arn\":\"x\"}"}`, "userIdentity", str(`{"arn":"x"}`)},
		{`{"userIdentity":"{\"arn\":\"x\"}"}`, "userIdentity.arn", str("x")},
		{`{"requestParameters":"{\"a\":\"x\"}"}`, "requestParameters", str(`{"a":"x"}`)},
		{`{"a":"x","b":{"c":["y",1]},"a":null}`, "", str("y")},
		{`{}`, "", str()},
		{``, "", absent},
		{``, "a", absent},
		{`[{"a":"x"}]`, "a", str("x")}, // no event of Decode
	} {
		var path []string
		if c.path != "" {
			path = strings.Split(c.path, ".")
		}
		before := Value{NumberValue, "before"}
		got, ok := (&Event{Raw: []byte(c.event)}).AppendValues([]Value{before}, path...)
		want, present := c.want.([]Value)
		if ok != present || !slices.Equal(got, append([]Value{before}, want...)) {
			t.Errorf("AppendValues(%q) of %s = %q, %v; want %q behind the first, %v", path, c.event, got, ok, want, present)
		}
	}
}

// node is a value as the reference reads it: a json.Delim for an array or object.
type node struct {
	token   json.Token
	names   []string
	members []node
}

// referenceNode reads the next value; of equal names it keeps the last.
func referenceNode(in *json.Decoder) (n node) {
	token, err := in.Token()
	must(err)
	n.token = token
	if _, ok := token.(json.Delim); !ok {
		return n
	}
	for in.More() {
		if token == json.Delim('{') {
			name, err := in.Token()
			must(err)
			if i := slices.Index(n.names, name.(string)); i >= 0 {
				n.names, n.members = slices.Delete(n.names, i, i+1), slices.Delete(n.members, i, i+1)
			}
			n.names = append(n.names, name.(string))
		}
		n.members = append(n.members, referenceNode(in))
	}
	_, err = in.Token()
	must(err)
	return n
}

// referenceContainer reads the object or array that b begins with.
func referenceContainer(b []byte) (n node, ok bool) {
	var raw json.RawMessage
	if json.NewDecoder(bytes.NewReader(b)).Decode(&raw) != nil || !strings.Contains("{[", string(raw[:1])) {
		return n, false
	}
	in := json.NewDecoder(bytes.NewReader(raw))
	in.UseNumber()
	return referenceNode(in), true
}

func (n node) strings() (values []Value) {
	if s, ok := n.token.(string); ok {
		return []Value{{StringValue, s}}
	}
	for _, m := range n.members {
		values = append(values, m.strings()...)
	}
	return values
}

func (n node) values() (values []Value) {
	switch v := n.token.(type) {
	case string:
		return []Value{{StringValue, v}}
	case json.Number:
		return []Value{{NumberValue, string(v)}}
	case bool:
		return []Value{{BoolValue, strconv.FormatBool(v)}}
	case nil:
		return []Value{{NullValue, ""}}
	}
	if n.token == json.Delim('{') {
		return n.strings()
	}
	for _, m := range n.members {
		values = append(values, m.values()...)
	}
	return values
}

// at is the reference of AppendValues.
func (n node) at(path []string, inString bool) (values []Value, present bool) {
	if len(path) == 0 {
		return n.values(), true
	}
	if s, ok := n.token.(string); ok && !inString {
		if n, ok = referenceContainer([]byte(s)); !ok {
			return nil, false
		}
		inString = true
	}
	switch n.token {
	case json.Delim('{'):
		if i := slices.Index(n.names, path[0]); i >= 0 {
			return n.members[i].at(path[1:], false)
		}
	case json.Delim('['):
		if i, err := strconv.ParseUint(path[0], 10, 32); err == nil {
			if i < uint64(len(n.members)) {
				return n.members[i].at(path[1:], false)
			}
			return nil, false
		}
		for _, m := range n.members {
			more, ok := m.at(path, inString)
			values, present = append(values, more...), present || ok
		}
	}
	return values, present
}

type fataler interface{ Fatalf(string, ...any) }

func compareValues(t fataler, raw string, path []string) {
	n, ok := referenceContainer([]byte(raw))
	var want []Value
	if ok {
		want, ok = n.at(path, false)
	}
	got, present := (&Event{Raw: []byte(raw)}).AppendValues(nil, path...)
	if present != ok || !slices.Equal(got, want) {
		t.Fatalf("AppendValues(%q) of %q\n     = %q, %v\nwant %q, %v", path, raw, got, present, want, ok)
	}
}

// TestAppendValuesModel compares AppendValues with encoding/json; with few names, many of
// them are equal and many paths lead to a value.
func TestAppendValuesModel(t *testing.T) {
	g := jsontest.Generator{
		Names:   []string{"a", "b", "c", "0", "1"},
		Strings: []string{"", "x", "y\n", "é\"", `{"a":"x","b":["{\"a\":1}"],"a":{"b":"y"}}`, ` [1,{"a":2},[{"b":"[3]"}]]`, "[1,", `{"a":1}junk`},
	}
	rapid.Check(t, func(t *rapid.T) {
		path := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "a", "b", "c", "0", "1"}), 0, 4).Draw(t, "path")
		compareValues(t, g.Object(t, 6), path)
	})
	rapid.Check(t, func(t *rapid.T) { // objects with more members than are compared one by one
		var b strings.Builder
		for range rapid.IntRange(0, 3*manyMembers).Draw(t, "members") {
			fmt.Fprintf(&b, `"%d":%s,`, rapid.IntRange(0, 2*manyMembers).Draw(t, "name"), g.Value(t, 2))
		}
		wide := `{` + b.String() + `"z":"v"}`
		compareValues(t, `{"a":[`+wide+`,`+wide+`],"b":`+wide+`,"1":`+wide+`}`, rapid.SampledFrom([][]string{nil, {"a"}, {"b"}, {"a", "z"}}).Draw(t, "path"))
	})
}

func FuzzAppendValues(f *testing.F) {
	f.Add(`{"a":{"b":["x",{"c":"y","c":1}],"b":[[1],"{\"c\":null}"]}}`, "a.b.c")
	f.Add(`{"a":"[1,[{\"b\":\"\\u0041\"}]]"} `, "a.b")
	f.Add(`{"a":[{"a":"x","\u0061":"y"}]}`, "")
	f.Add(`{"a":[`, "a.0")
	for _, c := range fieldCases {
		f.Add(c.event, "userIdentity.sessionContext")
	}
	f.Fuzz(func(t *testing.T, raw, dotted string) {
		var path []string
		if dotted != "" {
			path = strings.Split(dotted, ".")
		}
		if json.Valid([]byte(raw)) {
			compareValues(t, raw, path)
		} else {
			(&Event{Raw: []byte(raw)}).AppendValues(nil, path...) // must return
		}
	})
}

// TestAppendValuesDamaged reads bytes that never went through Decode.
func TestAppendValuesDamaged(t *testing.T) {
	whole := `{"a":{"b":["x",{"c":"y\n"},[{"c":"{\"d\":1}"}]]}}`
	for n := range whole {
		for _, path := range [][]string{nil, {"a"}, {"a", "b"}, {"a", "b", "c"}, {"a", "b", "c", "d"}, {"a", "b", "1"}} {
			if got, ok := (&Event{Raw: []byte(whole[:n])}).AppendValues(nil, path...); ok {
				t.Errorf("AppendValues(%q) of %q = %q; want nothing", path, whole[:n], got)
			}
		}
	}
	deep := `{"a":` + repeat("[", 1<<20) + repeat("]", 1<<20) + "}"
	for _, path := range [][]string{nil, {"a"}, {"a", "b"}} {
		if got, ok := (&Event{Raw: []byte(deep)}).AppendValues(nil, path...); ok {
			t.Errorf("AppendValues(%q) of a million brackets = %q; want nothing", path, got)
		}
	}
}

// TestAppendValuesHostile ends only if the time does not grow with the square of the size, or
// with the depth times the size.
func TestAppendValuesHostile(t *testing.T) {
	var members, equal strings.Builder
	for i := range 200_000 {
		fmt.Fprintf(&members, `"%d":"v",`, i)
		equal.WriteString(`"a":"v",`)
	}
	const depth = jsonscan.MaxDepth / 2
	long := `"` + repeat("x", 4<<20) + `"`
	for name, c := range map[string]struct {
		value string
		want  int
	}{
		"many members":         {`{` + members.String() + `"z":"v"}`, 200_001},
		"many members, twice":  {`{` + members.String() + members.String() + `"z":"v"}`, 200_001},
		"equal members":        {`{` + equal.String() + `"z":"v"}`, 2},
		"deep objects":         {repeat(`{"a":`, depth) + long + repeat("}", depth), 1},
		"deep arrays":          {repeat(`[`, depth) + long + repeat("]", depth), 1},
		"deep, with replaced":  {repeat(`{"a":"v","b":"v","b":`, depth) + `{` + members.String() + `"z":"v"}` + repeat(`,"a":"w"}`, depth), 200_001 + depth},
		"deep, many of equals": {repeat(`{"a":`, depth) + `{` + members.String() + `"z":"v"}` + repeat(`,"a":1}`, depth), 0},
	} {
		e := Event{Raw: []byte(`{"a":` + c.value + `}`)}
		if got, ok := e.AppendValues(nil, "a"); len(got) != c.want || !ok {
			t.Errorf("%s: AppendValues appends %d values, %v; want %d", name, len(got), ok, c.want)
		}
		if got, _ := e.AppendValues(nil); name != "deep arrays" && len(got) != c.want {
			t.Errorf("%s: AppendValues of the event appends %d values; want %d", name, len(got), c.want)
		}
		if got, _ := e.AppendValues(nil, "a", "x"); len(got) != 0 {
			t.Errorf("%s: AppendValues(a, x) appends %d values; want none", name, len(got))
		}
	}
}

func TestAppendValuesAllocatesNothing(t *testing.T) {
	record := `{` + stamp + `,"eventID":"id","a":[{"b":"x","c":[1,true,null]},{"b":"é"}],"n":111122223333,"o":{"k":"v","l":{"k":"v","m":["w",{"k":"u"}]}}}`
	dst := make([]Value, 0, 64)
	Decode([]byte(record), func(e *Event, err error) bool {
		for _, path := range [][]string{nil, {"eventID"}, {"n"}, {"a"}, {"a", "b"}, {"a", "c"}, {"a", "1", "b"}, {"o"}, {"o", "l", "m"}, {"x", "y"}} {
			if got := testing.AllocsPerRun(100, func() { dst, _ = e.AppendValues(dst[:0], path...) }); got != 0 {
				t.Errorf("AppendValues(%q) of %s allocates %v times; want 0", path, record, got)
			}
		}
		return true
	})
}
