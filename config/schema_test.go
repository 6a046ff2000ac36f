package config

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// schemaRule has a parameter of every kind.
type schemaRule struct {
	Window    int64    `param:"window" range:"1..9" help:"h"`
	Codes     []string `param:"codes" help:"h"`
	Threshold bool     `param:"on" help:"h"`
	Kind      string   `param:"kind" one:"fixed sliding" help:"h"`
}

func compiledSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := Schema([]Rule{{ID: "probe", Targets: []any{&schemaRule{Kind: "fixed"}}}, {ID: "bare"}})
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("config.json", parsed); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("config.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// TestSchemaAgreesWithLoad: the schema and Load accept and refuse the same files.
func TestSchemaAgreesWithLoad(t *testing.T) {
	schema := compiledSchema(t)
	for text, want := range map[string]bool{
		"app_id: x\nshards: 3\nkafka: {brokers: [a:1, b:2], session_timeout: 10s, tls: {enabled: true}}": true,
		"topics: {input: cloudtrail}":                                     true,
		"state: {cache: 64MiB, lifetime: 7d}":                             true,
		"state: {cache: 67108864}":                                        true,
		"events: {duplicates_within: 0, max_ahead: 1d12h}":                true,
		"events: {max_lateness: 1h30m}":                                   true,
		"kafka: {sasl: {mechanism: plain, username: u, password: 12345}}": true,
		"rules: {probe: false}":                                           true,
		"rules: {probe: {window: 3, codes: [A, B]}, bare: true}":          true,
		"log: {level: debug}":                                             true,
		"shard: 3":                                                        false,
		"shards: 0":                                                       false,
		"shards: many":                                                    false,
		"kafka: {brokr: [a:1]}":                                           false,
		"kafka: {session_timeout: 10 parsecs}":                            false,
		"kafka: {session_timeout: 10}":                                    false,
		"kafka: {compression: rar}":                                       false,
		"state: {cache: lots}":                                            false,
		"rules: {other: true}":                                            false,
		"rules: {probe: {window: 10}}":                                    false,
		"rules: {probe: {windw: 3}}":                                      false,
		"rules: {probe: {kind: sliding}}":                                 true,
		"rules: {probe: {kind: slidng}}":                                  false,
		"rules: {probe: {kind: 7}}":                                       false,
		"topics: {create: perhaps}":                                       false,
		"x-common: {anything: [1]}\nshards: 3":                            true,
		"kafka: {x-common: 1}":                                            false,
		"state_dir: /var/lib/trailhound~1":                                true,
		"state_dir: ~/data":                                               false,
	} {
		var value any
		if err := yaml.Unmarshal([]byte(text), &value); err != nil {
			t.Fatal(err)
		}
		asJSON, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
		if err != nil {
			t.Fatal(err)
		}
		bySchema := schema.Validate(instance) == nil
		file := t.TempDir() + "/c.yaml"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err = Load(Input{File: file, Rules: []Rule{{ID: "probe", Targets: []any{&schemaRule{Window: 1, Kind: "fixed"}}}, {ID: "bare"}}})
		if bySchema != want || (err == nil) != want {
			t.Errorf("%q: right by the schema %t, by Load %t (%v); want %t", text, bySchema, err == nil, err, want)
		}
	}
}

// Every default is one of the values that the schema takes.
func TestSchemaTakesTheDefaults(t *testing.T) {
	schema := compiledSchema(t)
	c, err := Load(Input{Rules: []Rule{{ID: "probe", Targets: []any{&schemaRule{Window: 1, Kind: "fixed"}}}, {ID: "bare"}}})
	if err != nil {
		t.Fatal(err)
	}
	var printed bytes.Buffer
	if err := c.Print(&printed); err != nil {
		t.Fatal(err)
	}
	var value any
	if err := yaml.Unmarshal(printed.Bytes(), &value); err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(instance); err != nil {
		t.Errorf("what Print writes is refused by the schema: %v", err)
	}
}
