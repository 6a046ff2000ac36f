package deploy_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// obsPanel is a panel of the dashboard.
type obsPanel struct {
	ID          int            `json:"id"`
	Type        string         `json:"type"`
	Title       string         `json:"title"`
	Description string         `json:"description"`
	Datasource  obsDatasource  `json:"datasource"`
	Grid        map[string]int `json:"gridPos"`
	Field       struct {
		Defaults struct {
			Unit string `json:"unit"`
		} `json:"defaults"`
	} `json:"fieldConfig"`
	Targets []struct {
		Ref        string        `json:"refId"`
		Datasource obsDatasource `json:"datasource"`
		Expr       string        `json:"expr"`
		Legend     string        `json:"legendFormat"`
	} `json:"targets"`
}

type obsDatasource struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

type obsDashboard struct {
	UID         string     `json:"uid"`
	Schema      int        `json:"schemaVersion"`
	Panels      []obsPanel `json:"panels"`
	Annotations struct {
		List []struct {
			Name string `json:"name"`
			Expr string `json:"expr"`
		} `json:"list"`
	} `json:"annotations"`
	Templating struct {
		List []struct {
			Name  string `json:"name"`
			Query any    `json:"query"`
		} `json:"list"`
	} `json:"templating"`
}

func obsReadDashboard(t *testing.T) (d obsDashboard) {
	t.Helper()
	if err := json.Unmarshal([]byte(obsText(t, "grafana/trailhound.json")), &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Panels) < 40 {
		t.Fatalf("the dashboard has %d panels; want all of them", len(d.Panels))
	}
	return d
}

var obsVariable = regexp.MustCompile(`\$\{?(\w+)\}?`)

func TestDashboard(t *testing.T) {
	d := obsReadDashboard(t)
	if d.UID != "trailhound" || d.Schema < 39 {
		t.Errorf("the dashboard has uid %q and schemaVersion %d; want trailhound, to find it again, and one of Grafana 11 or newer", d.UID, d.Schema)
	}
	variables := []string{"__rate_interval"}
	for _, v := range d.Templating.List {
		variables = append(variables, v.Name)
	}
	if want := []string{"__rate_interval", "datasource", "job", "instance"}; !slices.Equal(variables, want) {
		t.Errorf("the dashboard has the variables %q; want %q", variables, want)
	}
	for _, m := range obsVariable.FindAllStringSubmatch(obsText(t, "grafana/trailhound.json"), -1) {
		if m[1] != "__all" && !slices.Contains(variables, m[1]) {
			t.Errorf("the dashboard uses $%s, which it does not have", m[1])
		}
	}
	ids, cells := map[int]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] || p.ID == 0 {
			t.Errorf("panel %q has id %d, which is taken or none", p.Title, p.ID)
		}
		ids[p.ID] = true
		for y := p.Grid["y"]; y < p.Grid["y"]+p.Grid["h"]; y++ {
			for x := p.Grid["x"]; x < p.Grid["x"]+p.Grid["w"]; x++ {
				if other := cells[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("panel %q reaches over %q, or beyond the edge", p.Title, other)
				}
				cells[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if !strings.HasSuffix(p.Description, ".") || p.Title == "" || p.Field.Defaults.Unit == "" || len(p.Targets) == 0 {
			t.Errorf("panel %q: description %q, unit %q, %d queries; want all of them", p.Title, p.Description, p.Field.Defaults.Unit, len(p.Targets))
		}
		from, refs := obsDatasource{"prometheus", "${datasource}"}, map[string]bool{}
		for _, target := range p.Targets {
			if refs[target.Ref] || target.Datasource != from || p.Datasource != from {
				t.Errorf("panel %q: query %q asks %v; want an id of its own, and to ask %v", p.Title, target.Ref, target.Datasource, from)
			}
			refs[target.Ref] = true
		}
	}
}

// TestDashboardAsksForWhatThereIs: queries ask for series that exist, of the chosen app
// alone, and no metric is forgotten.
func TestDashboardAsksForWhatThereIs(t *testing.T) {
	d, known, values := obsReadDashboard(t), obsMetrics(t), obsConstants(t)
	shown := map[string]bool{}
	legend := regexp.MustCompile(`{{(\w+)}}`)
	for where, expr := range obsDashboardQueries(&d) {
		for _, s := range obsCheckQuery(t, where, expr, known, values).selectors {
			shown[s.metric] = true
			if s.matchers["job"] != "$job" {
				t.Errorf("%s asks for %s of all apps; want job=\"$job\"", where, s.metric)
			}
		}
	}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			q := obsParse(target.Expr)
			for _, m := range legend.FindAllStringSubmatch(target.Legend, -1) {
				grouped := len(q.grouping) == 0 && slices.Contains(known[q.selectors[0].metric].labels, m[1])
				if !grouped && !slices.Contains(q.grouping, m[1]) {
					t.Errorf("panel %q: the legend %q names %s, which %s does not leave", p.Title, target.Legend, m[1], target.Expr)
				}
			}
		}
	}
	for name := range known {
		series := shown[name] || strings.HasSuffix(name, "_sum") || shown[strings.TrimSuffix(name, "_count")+"_bucket"]
		if strings.HasPrefix(name, "trailhound_") && !series {
			t.Errorf("%s is on no panel", name)
		}
	}
}

// obsDashboardQueries returns every query, by where it stands.
func obsDashboardQueries(d *obsDashboard) map[string]string {
	all := map[string]string{}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			all[fmt.Sprintf("panel_%d_%s", p.ID, target.Ref)] = target.Expr
		}
	}
	for _, a := range d.Annotations.List {
		all["annotation_"+a.Name] = a.Expr
	}
	return all
}

// TestPromtool has Prometheus' own tool check and test the rules, and check the
// queries of the dashboard.
func TestPromtool(t *testing.T) {
	tool := os.Getenv("TRAILHOUND_PROMTOOL")
	if tool == "" {
		var err error
		if tool, err = exec.LookPath("promtool"); err != nil {
			t.Skip("no promtool here, so PromQL and the tests of rules were not played; name one in TRAILHOUND_PROMTOOL, or run .ci/run rules")
		}
	}
	promtool := func(args ...string) {
		t.Run(filepath.Base(args[len(args)-1]), func(t *testing.T) {
			t.Parallel()
			if out, err := exec.CommandContext(t.Context(), tool, args...).CombinedOutput(); err != nil {
				t.Errorf("%s %s: %v\n%s", tool, strings.Join(args, " "), err, out)
			}
		})
	}
	promtool("check", "rules", "--lint=all", "--lint-fatal", obsRulesFile)
	for _, name := range obsRuleTests(t) {
		promtool("test", "rules", name)
	}

	// Prometheus checks rules only, so each query becomes one.
	d := obsReadDashboard(t)
	filled := strings.NewReplacer("$__rate_interval", "5m", "$job", "trailhound", "$instance", ".*")
	type record struct {
		Record string `yaml:"record"`
		Expr   string `yaml:"expr"`
	}
	var queries []record
	for where, expr := range obsDashboardQueries(&d) {
		queries = append(queries, record{"dashboard:" + where, filled.Replace(expr)})
	}
	text, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": queries}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "dashboard.yml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	promtool("check", "rules", "--lint=all", "--lint-fatal", file)
}
