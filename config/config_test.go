package config

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files")

type deniedParams struct {
	Threshold    int64         `param:"threshold,alert" help:"denials that make an alert"`
	Window       time.Duration `param:"window"`
	ErrorCodes   []string      `param:"error_codes"`
	DeniedFamily bool          `param:"denied_family"`
	_            int           // a field that is not exported is no parameter
}

type options struct {
	Suppress time.Duration `param:"suppress"`
}

// known returns two rules as a program would have them, with their parameters at the defaults.
func known() ([]Rule, *deniedParams) {
	p := &deniedParams{Threshold: 10, Window: time.Hour, ErrorCodes: []string{"AccessDenied"}}
	return []Rule{
		{ID: "access_denied", Targets: []any{p, &options{}}},
		{ID: "assume_role_unique_ip", Targets: []any{&options{}}},
	}, p
}

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "trailhound.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestPrecedence(t *testing.T) {
	file := write(t, "shards: 2\nkafka: {brokers: [file:1]}\nrules: {access_denied: {threshold: 2}}\n")
	env := []string{"TRAILHOUND_SHARDS=3", "TRAILHOUND_KAFKA_BROKERS=a:1, b:2", "TRAILHOUND_RULES_ACCESS_DENIED_THRESHOLD=3", "HOME=/"}
	set := []string{"shards=4", "rules.access_denied.threshold=4"}
	tests := []struct {
		name      string
		in        Input
		shards    int
		brokers   string
		threshold int64
		origin    string // of shards
	}{
		{"defaults", Input{}, 8, "127.0.0.1:9092", 10, "default"},
		{"file", Input{File: file}, 2, "file:1", 2, file + ":1:9"},
		{"environment", Input{File: file, Environment: env}, 3, "a:1 b:2", 3, "TRAILHOUND_SHARDS"},
		{"flag", Input{File: file, Environment: env, Set: set}, 4, "a:1 b:2", 4, "--set shards"},
		{"last flag", Input{Set: []string{"shards=4", "shards=5"}}, 5, "127.0.0.1:9092", 10, "--set shards"},
		{"empty variable", Input{Environment: []string{"TRAILHOUND_SHARDS="}}, 8, "127.0.0.1:9092", 10, "default"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rules, params := known()
			tt.in.Rules = rules
			c, err := Load(tt.in)
			if err != nil {
				t.Fatalf("Load(%v) = %v; want no error", tt.in, err)
			}
			if c.Shards != tt.shards || c.Origin("shards").String() != tt.origin {
				t.Errorf("Load(…).Shards = %d from %s; want %d from %s", c.Shards, c.Origin("shards"), tt.shards, tt.origin)
			}
			if got := strings.Join(c.Kafka.Brokers, " "); got != tt.brokers {
				t.Errorf("Load(…).Kafka.Brokers = %s; want %s", got, tt.brokers)
			}
			if params.Threshold != tt.threshold {
				t.Errorf("Load(…) set threshold %d; want %d", params.Threshold, tt.threshold)
			}
		})
	}
}

// The brackets of an IPv6 address are not those of a list, in a variable, a flag or a list in either.
func TestIPv6Brokers(t *testing.T) {
	for value, want := range map[string][]string{
		"[::1]:9092":                      {"[::1]:9092"},
		" [::1]:9092 , b:2":               {"[::1]:9092", "b:2"},
		"b:2,[2001:db8::2]:9092":          {"b:2", "[2001:db8::2]:9092"},
		"[2001:db8::1]:1,[2001:DB8::2]:2": {"[2001:db8::1]:1", "[2001:DB8::2]:2"},
		"[[::1]:9092]":                    {"[::1]:9092"},
		"[b:2, [::ffff:192.0.2.1]:9092]":  {"b:2", "[::ffff:192.0.2.1]:9092"},
		`["[::1]:9092", 'b:2']`:           {"[::1]:9092", "b:2"},
		"[fe80::1%eth0]:9092":             {"[fe80::1%eth0]:9092"},
		"[a:1]":                           {"a:1"},
		"[a:1, b:2]":                      {"a:1", "b:2"},
		"a:1,b:2":                         {"a:1", "b:2"},
	} {
		for _, in := range []Input{{Set: []string{"kafka.brokers=" + value}}, {Environment: []string{"TRAILHOUND_KAFKA_BROKERS=" + value}}} {
			in.Rules, _ = known()
			c, err := Load(in)
			if err != nil {
				t.Errorf("Load(%+v) = %v; want no error", in, err)
			} else if !slices.Equal(c.Kafka.Brokers, want) {
				t.Errorf("Load(%+v).Kafka.Brokers = %q; want %q", in, c.Kafka.Brokers, want)
			}
		}
	}
}

// The sample that every document shows must give exactly the defaults.
func TestSampleIsTheDefaults(t *testing.T) {
	sample := write(t, `app_id: trailhound
kafka: {brokers: [127.0.0.1:9092]}
topics: {input: [cloudtrail], alerts: alerts, dead_letter: cloudtrail-dead-letter}
shards: 8
state_dir: ./data
http: {listen: 127.0.0.1:9464}
events: {duplicates_within: 24h, max_lateness: 168h, max_ahead: 1h, max_drift: 1h}
rules:                      # a rule is on unless it is false
  access_denied: {threshold: 10, window: 1h}
  assume_role_unique_ip: {}
`)
	rules, _ := known()
	c, err := Load(Input{File: sample, Rules: rules, HostName: "host"})
	if err != nil {
		t.Fatal(err)
	}
	rules, _ = known()
	want, err := Load(Input{Rules: rules, HostName: "host"})
	if err != nil {
		t.Fatal(err)
	}
	for _, loaded := range []*Config{c, want} {
		loaded.fields, loaded.origins, loaded.sections = nil, nil, nil
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("Load(sample) = %+v; want the defaults %+v", c, want)
	}
}

func TestRuleSwitch(t *testing.T) {
	tests := []struct {
		file string
		set  []string
		want bool
	}{
		{"", nil, true},
		{"rules:\n", nil, true},
		{"rules: {access_denied: }", nil, true},
		{"rules: {access_denied: {}}", nil, true},
		{"rules: {access_denied: false}", nil, false},
		{"rules: {access_denied: false}", []string{"rules.access_denied=true"}, true},
		{"rules: {access_denied: false}", []string{"rules.access_denied.threshold=3"}, false},
		{"", []string{"rules.access_denied=false"}, false},
		{"", []string{"rules.access_denied={threshold: 3}"}, true},
	}
	for _, tt := range tests {
		rules, _ := known()
		c, err := Load(Input{File: write(t, tt.file), Set: tt.set, Rules: rules})
		if err != nil {
			t.Errorf("Load(%q, %q) = %v; want no error", tt.file, tt.set, err)
			continue
		}
		if got := c.Rules["access_denied"]; got != tt.want || !c.Rules["assume_role_unique_ip"] {
			t.Errorf("Load(%q, %q).Rules = %v; want access_denied %v and the other true", tt.file, tt.set, c.Rules, tt.want)
		}
	}
}

func TestInstanceID(t *testing.T) {
	id := func(host, dir string) string {
		c, err := Load(Input{HostName: host, Set: []string{"state_dir=" + dir}})
		if err != nil {
			t.Fatal(err)
		}
		return c.InstanceID
	}
	if a, b := id("host", "data"), id("host", "./data/"); a != b || !strings.HasPrefix(a, "host-") {
		t.Errorf("instance ids of data and ./data/ = %s, %s; want the same, with the host's name", a, b)
	}
	if a, b := id("host", "data"), id("host", "other"); a == b {
		t.Errorf("instance ids of data and other = %s; want two", a)
	}
	if got := id("höst name"+strings.Repeat("x", 300), "data"); len(got) > 249 || strings.ContainsAny(got, "ö ") {
		t.Errorf("instance id of an odd host = %s; want only what Kafka allows", got)
	}
}

func TestPrintRoundTrip(t *testing.T) {
	in := Input{
		File:        write(t, "start: latest\nrules: {assume_role_unique_ip: false}\ntopics: {input: [\"8\", b]}\n"),
		Environment: []string{"TRAILHOUND_KAFKA_BROKERS=[\"[::1]:9092\", b:2]", "TRAILHOUND_HTTP_LISTEN=:1"},
		Set:         []string{"rules.access_denied.window=36h", "app_id=true", "state.cache=10MB"},
		HostName:    "host",
	}
	in.Rules, _ = known()
	c, err := Load(in)
	if err != nil {
		t.Fatal(err)
	}
	var first, second bytes.Buffer
	if err := c.Print(&first); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"start: latest # " + in.File + ":1:8\n",
		"  brokers: ['[::1]:9092', 'b:2'] # TRAILHOUND_KAFKA_BROKERS\n",
		"    window: 36h # --set rules.access_denied.window\n",
		"  assume_role_unique_ip: false # " + in.File + ":2:32\n",
		"shards: 8 # default\n",
		"app_id: \"true\" # --set app_id\n",
		"  cache: 10MB",
	} {
		if !strings.Contains(first.String(), want) {
			t.Errorf("Print = %s\nwant a line %q", first.String(), want)
		}
	}
	rules, params := known()
	again, err := Load(Input{File: write(t, first.String()), Rules: rules, HostName: "another"})
	if err != nil {
		t.Fatalf("Load(Print) = %v; want no error\n%s", err, first.String())
	}
	if err := again.Print(&second); err != nil {
		t.Fatal(err)
	}
	if a, b := comments(first.String()), comments(second.String()); a != b {
		t.Errorf("Print(Load(Print)) = %s; want %s", b, a)
	}
	if params.Window != 36*time.Hour || again.Rules["assume_role_unique_ip"] {
		t.Errorf("Load(Print): window %s, rules %v; want 36h, and assume_role_unique_ip off", params.Window, again.Rules)
	}
}

// comments cuts the comments off every line.
func comments(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, " # ")
		b.WriteString(strings.TrimSpace(line) + "\n")
	}
	return b.String()
}

func TestSecretsStayHidden(t *testing.T) {
	set := []string{"kafka.sasl.mechanism=plain", "kafka.sasl.username=u", "kafka.sasl.password=hunter2"}
	c, err := Load(Input{Set: set})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := c.Print(&b); err != nil || strings.Contains(b.String(), "hunter2") || !strings.Contains(b.String(), "(hidden)") {
		t.Errorf("Print(password) = %s, %v; want it hidden", b.String(), err)
	}
	_, err = Load(Input{Set: append(set, "kafka.sasl.mechanism=none")})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("Load(password without a mechanism) = %v; want an error without the password", err)
	}
}

func TestReference(t *testing.T) {
	const begin, end = "<!-- keys -->\n", "<!-- /keys -->"
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), begin)
	table, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("README.md has no %q … %q", begin, end)
	}
	want := Reference()
	if *update {
		if err := os.WriteFile("README.md", []byte(head+begin+want+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if table != want {
		t.Error("the table of keys in README.md is not that of the code; want it updated with: go test ./config -run TestReference -update")
	}
}

// A key must have help, and a variable that no other key has.
func TestKeysAreComplete(t *testing.T) {
	c := Default()
	s := newFieldSet()
	s.addStruct("", "yaml", &c)
	rules, _ := known()
	addRules(s, rules)
	seen := map[string]string{}
	for _, f := range s.list {
		if f.help == "" && !strings.HasPrefix(f.path, "rules.") {
			t.Errorf("the key %s has no help; want a sentence", f.path)
		}
		if other := seen[variable(f.path)]; other != "" {
			t.Errorf("variable(%s) = variable(%s) = %s; want two", f.path, other, variable(f.path))
		}
		seen[variable(f.path)] = f.path
	}
}
