package rules

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"trailhound/state"
)

var defaultLimits = Limits{DuplicatesWithin: 24 * time.Hour, MaxLateness: 168 * time.Hour, MaxAhead: 24 * time.Hour}

func newShard(t testing.TB, o state.Options) *state.Shard {
	t.Helper()
	o.Dir, o.FS = "state", vfs.NewMem()
	store, err := state.Open(o)
	if err != nil {
		t.Fatalf("state.Open(%+v) = %v; want no error", o, err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Errorf("store.Close() = %v; want no error", err)
		}
	})
	shard, err := store.Shard(0)
	if err != nil {
		t.Fatalf("store.Shard(0) = %v; want no error", err)
	}
	return shard
}

const schemaFile = "../deploy/alert.schema.json"

var alertSchema = func() *jsonschema.Schema {
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	return c.MustCompile(schemaFile)
}()

// checkAlert checks the properties of every alert.
func checkAlert(t testing.TB, a Alert) {
	t.Helper()
	if strings.ContainsAny(string(a.Payload), "\n\r") {
		t.Errorf("payload %q has more than one line; want one", a.Payload)
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(string(a.Payload)))
	if err != nil {
		t.Fatalf("payload %q is not JSON: %v", a.Payload, err)
	}
	if err := alertSchema.Validate(value); err != nil {
		t.Errorf("payload %s does not have the form of %s: %v", a.Payload, schemaFile, err)
	}
	got := decodeAlert(t, a.Payload)
	if got.ID != a.ID || got.RuleID != a.RuleID || got.Severity != a.Severity || got.Dedup != string([]rune(a.Dedup)) || !got.EventTime.Equal(a.Time) {
		t.Errorf("alert %s of %s (%s, %s, %q) differs from its payload %s", a.ID, a.RuleID, a.Severity, rfc3339(a.Time), a.Dedup, a.Payload)
	}
}

// payload is an alert as its readers see it.
type payload struct {
	ID           string
	RuleID       string `json:"rule_id"`
	Severity     string
	Title        string
	Key          string
	Dedup        string
	Suppressed   int64
	EventID      string    `json:"event_id"`
	EventTime    time.Time `json:"event_time"`
	Context      map[string]any
	Evidence     evidence
	Event        json.RawMessage
	EventOmitted string `json:"event_omitted"`
}

type evidence struct {
	Total  int64
	Events []struct {
		EventID string `json:"event_id"`
		Offset  int64
		Index   int32
	}
}

func decodeAlert(t testing.TB, data []byte) payload {
	t.Helper()
	var p payload
	if err := json.Unmarshal(data, &p); err != nil {
		t.Fatalf("json.Unmarshal(%q) = %v; want an alert", data, err)
	}
	return p
}
