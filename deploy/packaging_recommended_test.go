package deploy_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"trailhound/config"
	"trailhound/rules"
)

// TestPackRecommended: the shipped configurations, and those that the pages have users
// write, give access_denied the recommended parameters, as the program reads them; the
// program's own defaults are others.
func TestPackRecommended(t *testing.T) {
	if r := rules.NewAccessDenied(); r.DeniedFamily || r.WindowKind != "fixed" || r.Principal != "session" {
		t.Errorf("the defaults of access_denied are denied_family %t, window_kind %q, principal %q; the pages say false, fixed, session", r.DeniedFamily, r.WindowKind, r.Principal)
	}
	chart, err := yaml.Marshal(packAt(packYAML(t, packChart+"/values.yaml"), "config"))
	if err != nil {
		t.Fatal(err)
	}
	var compose []string
	for k, v := range packAt(packYAML(t, "docker/compose.yaml"), "services", "trailhound", "environment").(map[string]any) {
		compose = append(compose, fmt.Sprintf("%s=%v", k, v))
	}
	for _, c := range []struct {
		from, file  string
		environment []string
	}{
		{from: "the chart", file: string(chart)},
		{from: "systemd/trailhound.yaml", file: packRead(t, "systemd/trailhound.yaml")},
		{from: "docker/compose.yaml", environment: compose},
		{from: "README.md", file: packConfiguration(t, "../README.md")},
		{from: "first-hour.md", file: packConfiguration(t, "first-hour.md")},
	} {
		r := rules.NewAccessDenied()
		in := config.Input{Environment: c.environment, HostName: "host"}
		if c.file != "" {
			in.File = filepath.Join(t.TempDir(), "trailhound.yaml")
			if err := os.WriteFile(in.File, []byte(c.file), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, spec := range rules.Builtin() {
			rule := config.Rule{ID: spec.ID, Targets: []any{spec.New(), new(rules.DefaultOptions())}}
			if spec.ID == rules.AccessDeniedID {
				rule.Targets[0] = r
			}
			in.Rules = append(in.Rules, rule)
		}
		if _, err := config.Load(in); err != nil {
			t.Errorf("%s: %v", c.from, err)
			continue
		}
		if !r.DeniedFamily || r.WindowKind != "sliding" || r.Principal != "role" || r.Threshold != 10 || r.Window != time.Hour {
			t.Errorf("%s has access_denied %+v; want denied_family true, window_kind sliding, principal role, and else the defaults", c.from, *r)
		}
	}
}

// packConfiguration returns the configuration file in a page: the one that begins with app_id.
func packConfiguration(t *testing.T, page string) string {
	t.Helper()
	m := regexp.MustCompile(`(?ms)^(app_id: trailhound\n.*?)^(?:\x60\x60\x60|EOF_CONFIG)$`).FindStringSubmatch(packRead(t, page))
	if m == nil || !strings.Contains(m[1], "access_denied") {
		t.Fatalf("%s has no configuration with access_denied in it", page)
	}
	return m[1]
}
