package deploy_test

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// The schemas of an alert: one for the alerts that this release writes, for tests; one for
// those that any release of v1 may write, for readers.
const (
	strictAlerts = "alert.schema.json"
	openAlerts   = "alert.open.schema.json"
)

// opened is a schema that takes the additions of later releases of the same version:
// members anywhere, values of other kinds in parameters and context, reasons to leave the
// event out, and another severity of a rule.
func opened(node any) any {
	switch n := node.(type) {
	case []any:
		for i := range n {
			n[i] = opened(n[i])
		}
	case map[string]any:
		for name := range n {
			n[name] = opened(n[name])
		}
		if n["additionalProperties"] != nil {
			delete(n, "additionalProperties") // none, or of known kinds alone
		}
		delete(n, "maxItems")
		if properties, ok := n["properties"].(map[string]any); ok {
			if omitted, ok := properties["event_omitted"].(map[string]any); ok {
				delete(omitted, "enum")
				omitted["type"] = "string"
			}
			if severity, ok := properties["severity"].(map[string]any); ok && severity["const"] != nil {
				delete(properties, "severity")
			}
		}
	}
	return node
}

// The open schema follows from the strict one.
func TestAlertOpenSchema(t *testing.T) {
	text, err := os.ReadFile(strictAlerts)
	if err != nil {
		t.Fatal(err)
	}
	var root map[string]any
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	root = opened(root).(map[string]any)
	root["$id"] = "urn:trailhound:schema:alert:v1:open"
	root["$comment"] = "Made from alert.schema.json: go test ./deploy -run TestAlertOpenSchema -update"
	var want bytes.Buffer
	enc := json.NewEncoder(&want)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(root); err != nil {
		t.Fatal(err)
	}
	if *packUpdate {
		if err := os.WriteFile(openAlerts, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(openAlerts); err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s does not follow from %s (%v); want it written with: go test ./deploy -run TestAlertOpenSchema -update", openAlerts, strictAlerts, err)
	}
}

// TestAlertOpenSchemaTakesMore: an alert of a later release passes the open schema and not
// the strict one; a value that is no alert passes neither.
func TestAlertOpenSchemaTakesMore(t *testing.T) {
	compiler := jsonschema.NewCompiler()
	strict, open := compiler.MustCompile(strictAlerts), compiler.MustCompile(openAlerts)
	line, err := os.ReadFile("../rules/testdata/access_denied/fires.alert.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ = bytes.Cut(line, []byte("\n"))
	for name, tt := range map[string]struct {
		change func(map[string]any)
		both   bool // or the open one alone
		none   bool
	}{
		"as it is":               {func(map[string]any) {}, true, false},
		"a member more":          {func(a map[string]any) { a["new"] = map[string]any{"a": nil} }, false, false},
		"a parameter more":       {func(a map[string]any) { a["parameters"].(map[string]any)["new"] = map[string]any{} }, false, false},
		"more in the context":    {func(a map[string]any) { a["context"].(map[string]any)["new"] = []any{1} }, false, false},
		"more in the evidence":   {func(a map[string]any) { a["evidence"].(map[string]any)["new"] = 1 }, false, false},
		"more in the source":     {func(a map[string]any) { a["source"].(map[string]any)["new"] = 1 }, false, false},
		"another severity":       {func(a map[string]any) { a["severity"] = "critical" }, false, false},
		"a reason more":          {func(a map[string]any) { delete(a, "event"); a["event_omitted"] = "new" }, false, false},
		"another version":        {func(a map[string]any) { a["schema"] = "trailhound.alert.v2" }, false, true},
		"no id":                  {func(a map[string]any) { delete(a, "id") }, false, true},
		"neither event nor why":  {func(a map[string]any) { delete(a, "event") }, false, true},
		"a severity of no level": {func(a map[string]any) { a["severity"] = "grave" }, false, true},
		"a number for a name":    {func(a map[string]any) { a["event_name"] = 1 }, false, true},
	} {
		var alert map[string]any
		if err := json.Unmarshal(line, &alert); err != nil {
			t.Fatal(err)
		}
		tt.change(alert)
		text, err := json.Marshal(alert)
		if err != nil {
			t.Fatal(err)
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := strict.Validate(value) == nil; got != tt.both {
			t.Errorf("%s: the strict schema takes it: %t; want %t", name, got, tt.both)
		}
		if err := open.Validate(value); (err != nil) != tt.none {
			t.Errorf("%s: the open schema says %v; want it taken: %t", name, err, !tt.none)
		}
	}
}
