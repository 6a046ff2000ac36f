package admin

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
)

// The page that people look metrics up in is made from the metrics.
func TestReferencePage(t *testing.T) {
	const page = "../../deploy/metrics.md"
	const begin, end = "<!-- metrics -->\n", "<!-- /metrics -->"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	old, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no lines %q and %q", page, begin, end)
	}
	table := reference(t)
	if old == table {
		return
	}
	if !*update {
		t.Fatalf("%s is not up to date; run go test ./consumer/admin -update", page)
	}
	if err := os.WriteFile(page, []byte(before+begin+table+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// reference is a table of all metrics of our own.
func reference(t *testing.T) string {
	t.Helper()
	m, _, _ := used()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("| name | type | labels | meaning |\n|---|---|---|---|\n")
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "trailhound_") {
			continue
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, "`"+l.GetName()+"`")
		}
		help := f.GetHelp()
		if f.GetType() == dto.MetricType_HISTOGRAM {
			var bounds []string
			for _, bucket := range f.GetMetric()[0].GetHistogram().GetBucket() {
				bounds = append(bounds, fmt.Sprint(bucket.GetUpperBound()))
			}
			help += " Buckets: " + strings.Join(bounds, ", ") + "."
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.GetName(), strings.ToLower(f.GetType().String()), strings.Join(labels, ", "), help)
	}
	if strings.Count(b.String(), "\n") < 20 || !slices.IsSortedFunc(families, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) }) {
		t.Fatalf("the table of metrics is\n%s\nwant all of them, sorted", b.String())
	}
	return b.String()
}
