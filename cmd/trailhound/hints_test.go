package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// Keys of the configuration are no flags; the error of such a flag tells how to set the
// key.
func TestKeysAsFlags(t *testing.T) {
	for want, args := range map[string][]string{
		"unknown flag: --shards; a key of the configuration is set with --set shards=VALUE":                       {"run", "--shards", "3"},
		"unknown flag: --app-id; a key of the configuration is set with --set app_id=VALUE":                       {"run", "--app-id=x"},
		"unknown flag: --brokers; a key of the configuration is set with --set kafka.brokers=VALUE":               {"alerts", "--brokers", "a:1"},
		"unknown flag: --kafka.tls.ca_file; a key of the configuration is set with --set kafka.tls.ca_file=VALUE": {"topics", "check", "--kafka.tls.ca_file", "x"},
		"unknown shorthand flag: 'c' in -c; did you mean --config?":                                               {"run", "-c", "f.yaml"},
		"unknown flag: --strct; did you mean --strict?":                                                           {"detect", "--strct"},
		"unknown flag: --frobnicate; see trailhound run --help":                                                   {"run", "--frobnicate"},
	} {
		if r := command(t.Context(), "", nil, args...); r.code != exitUsage || r.stderr != "trailhound: "+want+"\n" {
			t.Errorf("%q = %d, %q; want 2 and %q", args, r.code, r.stderr, want)
		}
	}
}

// JSON has all that tables show.
func TestRulesAndConfigJSON(t *testing.T) {
	set := []string{"--set", "rules.access_denied.threshold=5", "--set", "kafka.sasl.mechanism=plain", "--set", "kafka.sasl.username=u", "--set", "kafka.sasl.password=planted"}
	r := command(t.Context(), "", nil, append([]string{"rules", "list", "--json"}, set...)...)
	all := lines(r.stdout)
	if r.code != exitDone || len(all) != 2 {
		t.Fatalf("rules list --json = %d, %q; want a line a rule", r.code, r.stdout)
	}
	shown := command(t.Context(), "", nil, append([]string{"rules", "show", "access_denied", "--json"}, set...)...)
	if strings.TrimSpace(shown.stdout) != all[0] {
		t.Errorf("rules show --json = %s; want the line of rules list, %s", shown.stdout, all[0])
	}
	var rule shownRule
	if err := json.Unmarshal([]byte(all[0]), &rule); err != nil || !rule.On || rule.GroupedBy == "" || rule.Description == "" {
		t.Errorf("rules list --json has %s, %v; want everything of the rule", all[0], err)
	}
	for _, p := range rule.Parameters {
		if p.Name == "threshold" && (p.Value != "5" || p.Default != "10" || p.Type != "integer") {
			t.Errorf("the threshold is shown as %+v; want 5 of 10", p)
		}
	}
	r = command(t.Context(), "", nil, append([]string{"config", "print", "--json"}, set...)...)
	var values map[string]struct{ Value, Origin string }
	if err := json.Unmarshal([]byte(r.stdout), &values); err != nil || strings.Contains(r.stdout, "planted") {
		t.Fatalf("config print --json = %d, %s, %v; want JSON without the password", r.code, r.stdout, err)
	}
	if v := values["rules.access_denied.threshold"]; v.Value != "5" || v.Origin != "--set rules.access_denied.threshold" {
		t.Errorf("the threshold is printed as %+v; want 5 from --set", v)
	}
}
