package deploy_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.yaml.in/yaml/v3"

	"trailhound/consumer"
	"trailhound/rules"
	"trailhound/rules/cloudtrail"
)

const (
	obsRulesFile = "prometheus/rules.yml"
	obsRunbook   = "runbook.md"
)

// obsRule is a rule of Prometheus.
type obsRule struct {
	Record      string            `yaml:"record"`
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func (r *obsRule) name() string { return r.Alert + r.Record } // one of them is empty

// obsRules reads all rules.
func obsRules(t *testing.T) (all []obsRule) {
	t.Helper()
	var file struct {
		Groups []struct {
			Rules []obsRule `yaml:"rules"`
		} `yaml:"groups"`
	}
	obsYAML(t, obsRulesFile, &file)
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 30 {
		t.Fatalf("%s has %d rules; want all of them", obsRulesFile, len(all))
	}
	return all
}

// obsYAML decodes a YAML file.
func obsYAML(t *testing.T, name string, into any) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := yaml.NewDecoder(f).Decode(into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func obsText(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// obsMetric is a metric that queries may ask for.
type obsMetric struct {
	counts bool // it only grows
	labels []string
}

// obsMetrics returns the metrics that Prometheus has of an instance: those of the
// reference page, which is made from the program, those of Go and the process, and
// Prometheus' own.
func obsMetrics(t *testing.T) map[string]obsMetric {
	t.Helper()
	every := []string{"job", "instance"}
	all := map[string]obsMetric{
		"up":     {labels: every},
		"ALERTS": {labels: append([]string{"alertname", "alertstate", "severity"}, every...)},
	}
	add := func(name, kind string, labels []string) {
		labels = append(slices.Clone(labels), every...)
		switch kind {
		case "histogram", "summary":
			all[name+"_bucket"] = obsMetric{true, append(slices.Clone(labels), "le")}
			all[name+"_sum"] = obsMetric{true, labels}
			all[name+"_count"] = obsMetric{true, labels}
		default:
			all[name] = obsMetric{kind == "counter", labels}
		}
	}
	row := regexp.MustCompile("(?m)^\\| `(trailhound_[a-z_]+)` \\| ([a-z]+) \\| ([^|]*) \\|")
	for _, m := range row.FindAllStringSubmatch(obsText(t, "metrics.md"), -1) {
		var labels []string
		for l := range strings.SplitSeq(m[3], ",") {
			if l = strings.Trim(strings.TrimSpace(l), "`"); l != "" {
				labels = append(labels, l)
			}
		}
		add(m[1], m[2], labels)
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		add(f.GetName(), strings.ToLower(f.GetType().String()), nil)
	}
	return all
}

// obsRecorded adds the metrics that rules record: the level of a name is its labels.
func obsRecorded(t *testing.T, known map[string]obsMetric) map[string]obsMetric {
	t.Helper()
	all := maps.Clone(known)
	for _, r := range obsRules(t) {
		if level, _, ok := strings.Cut(r.Record, ":"); ok {
			all[r.Record] = obsMetric{labels: strings.Split(level, "_")}
		}
	}
	return all
}

// obsCheckQuery reports the mistakes of a query: metrics and labels that do not exist,
// rates of other metrics than counters, label values that the program never gives.
func obsCheckQuery(t *testing.T, where, expr string, known map[string]obsMetric, values map[string]bool) obsQuery {
	t.Helper()
	q := obsParse(expr)
	if len(q.selectors) == 0 {
		t.Errorf("%s: no metric in %q", where, expr)
	}
	grouping := map[string]bool{}
	for _, s := range q.selectors {
		m, ok := known[s.metric]
		if !ok {
			t.Errorf("%s asks for %s, which does not exist", where, s.metric)
			continue
		}
		for _, l := range m.labels {
			grouping[l] = true
		}
		if s.rate != "" && !m.counts {
			t.Errorf("%s: %s of %s, which is no counter", where, s.rate, s.metric)
		}
		for label, want := range s.matchers {
			if !slices.Contains(m.labels, label) {
				t.Errorf("%s asks for the label %s of %s, which has %q", where, label, s.metric, m.labels)
			}
			if label == "job" || label == "instance" || strings.HasPrefix(label, "alert") {
				continue
			}
			for v := range strings.SplitSeq(want, "|") {
				if !values[v] {
					t.Errorf("%s asks for %s with %s=%q, which the program never says", where, s.metric, label, v)
				}
			}
		}
	}
	for _, l := range q.grouping {
		if !grouping[l] {
			t.Errorf("%s groups by %s, which none of its metrics has", where, l)
		}
	}
	return q
}

// obsConstants returns the values of all string constants of the program.
func obsConstants(t *testing.T) map[string]bool {
	t.Helper()
	values := map[string]bool{"error": true, "warn": true, "info": true, "debug": true} // zerolog's levels
	for _, dir := range []string{"../rules", "../rules/cloudtrail", "../consumer"} {
		files, err := filepath.Glob(dir + "/*.go")
		if err != nil || len(files) == 0 {
			t.Fatalf("Go files in %s: %d, %v", dir, len(files), err)
		}
		for _, name := range files {
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range f.Decls {
				if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.CONST {
					ast.Inspect(g, func(n ast.Node) bool {
						if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
							if v, err := strconv.Unquote(lit.Value); err == nil {
								values[v] = true
							}
						}
						return true
					})
				}
			}
		}
	}
	return values
}

func TestRulesAskForWhatThereIs(t *testing.T) {
	known, values := obsRecorded(t, obsMetrics(t)), obsConstants(t)
	for _, r := range obsRules(t) {
		q := obsCheckQuery(t, r.name(), r.Expr, known, values)
		if r.Record == "" {
			continue
		}
		parts := strings.Split(r.Record, ":")
		if len(parts) != 3 || !strings.HasPrefix(parts[1], "trailhound_") {
			t.Errorf("record %s; want level:trailhound_metric:operations", r.Record)
			continue
		}
		// Several metrics in one rule: its grouping is the level, or finer.
		for _, label := range strings.Split(parts[0], "_") {
			if !slices.Contains(q.grouping, label) && !strings.Contains(r.Expr, parts[0]+":") {
				t.Errorf("%s has the level %s, but is not grouped by %s: %s", r.Record, parts[0], label, r.Expr)
			}
		}
	}
}

// TestAlertsAreComplete: every alert has all that an engineer on call needs at night.
func TestAlertsAreComplete(t *testing.T) {
	known := obsRecorded(t, obsMetrics(t))
	field := regexp.MustCompile(`\$labels\.(\w+)`)
	seen := map[string]bool{}
	for _, r := range obsRules(t) {
		if r.Alert == "" {
			continue
		}
		if seen[r.Alert] {
			t.Errorf("%s is there twice", r.Alert)
		}
		seen[r.Alert] = true
		if s := r.Labels["severity"]; s != "warning" && s != "critical" {
			t.Errorf("%s has severity %q; want warning or critical", r.Alert, s)
		}
		if r.For == "" && !regexp.MustCompile(`\[\d+[mh]\]|increase1h`).MatchString(r.Expr) {
			t.Errorf("%s fires at once; want a for, or a range in its expression", r.Alert)
		}
		if want := "deploy/" + obsRunbook + "#" + strings.ToLower(r.Alert); r.Annotations["runbook_url"] != want {
			t.Errorf("%s has runbook_url %q; want %q", r.Alert, r.Annotations["runbook_url"], want)
		}
		labels := map[string]bool{}
		for _, s := range obsParse(r.Expr).selectors {
			for _, l := range known[s.metric].labels {
				labels[l] = true
			}
		}
		for _, name := range []string{"summary", "description"} {
			text := r.Annotations[name]
			if !strings.HasSuffix(text, ".") || !strings.Contains(text, "{{ $labels.job }}") {
				t.Errorf("%s: %s is %q; want a sentence that names the app, {{ $labels.job }}", r.Alert, name, text)
			}
			for _, m := range field.FindAllStringSubmatch(text, -1) {
				if !labels[m[1]] {
					t.Errorf("%s: %s speaks of the label %s, which its metrics do not have", r.Alert, name, m[1])
				}
			}
		}
	}
}

// TestAlertOnReasons: a new reason for a dead letter is either broken input, or raises the
// alarm about events that were given up: its author has to decide.
func TestAlertOnReasons(t *testing.T) {
	broken := []rules.Reason{
		cloudtrail.ReasonNotJSON, cloudtrail.ReasonCutOff, cloudtrail.ReasonTooDeep, cloudtrail.ReasonUnknownShape, cloudtrail.ReasonNoEventTime,
		cloudtrail.ReasonBadEventTime, cloudtrail.ReasonBadGzip, cloudtrail.ReasonTooManyErrors, cloudtrail.ReasonForeignSource,
	}
	var alarming []string
	for _, r := range obsRules(t) {
		for _, s := range obsParse(r.Expr).selectors {
			if r.Alert == "TrailhoundEventsGivenUp" && s.matchers["reason"] != "" {
				alarming = strings.Split(s.matchers["reason"], "|")
			}
		}
	}
	for _, reason := range consumer.DeadLetterReasons() {
		if !slices.Contains(broken, reason) && !slices.Contains(alarming, string(reason)) {
			t.Errorf("dead letters for the reason %s are undecided; want it in the list of TrailhoundEventsGivenUp, or among broken input", reason)
		}
	}
	for _, reason := range rules.SkipReasons() {
		if slices.Contains(alarming, string(reason)) {
			t.Errorf("TrailhoundEventsGivenUp asks for %s, which is counted only", reason)
		}
	}
}

// Every rule has tests that promtool plays: an alert fires in one, and does not in
// another; a recorded series has its value looked at.
func TestRulesHaveTests(t *testing.T) {
	fires, quiet, looked := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, name := range obsRuleTests(t) {
		var file struct {
			Tests []struct {
				Alerts []struct {
					Name string `yaml:"alertname"`
					Want []any  `yaml:"exp_alerts"`
				} `yaml:"alert_rule_test"`
				Queries []struct {
					Expr string `yaml:"expr"`
					Want []any  `yaml:"exp_samples"`
				} `yaml:"promql_expr_test"`
			} `yaml:"tests"`
		}
		obsYAML(t, name, &file)
		for _, test := range file.Tests {
			for _, a := range test.Alerts {
				if len(a.Want) > 0 {
					fires[a.Name] = true
				} else {
					quiet[a.Name] = true
				}
			}
			for _, q := range test.Queries {
				for _, s := range obsParse(q.Expr).selectors {
					looked[s.metric] = looked[s.metric] || len(q.Want) > 0
				}
			}
		}
	}
	for _, r := range obsRules(t) {
		switch {
		case r.Record != "" && !looked[r.Record]:
			t.Errorf("no test looks at a value of %s", r.Record)
		case r.Alert != "" && !fires[r.Alert]:
			t.Errorf("%s fires in no test", r.Alert)
		case r.Alert != "" && !quiet[r.Alert]:
			t.Errorf("no test has %s not fire", r.Alert)
		}
	}
}

func obsRuleTests(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("prometheus/*_test.yml")
	if err != nil || len(files) == 0 {
		t.Fatalf("tests of rules: %d, %v", len(files), err)
	}
	return files
}
