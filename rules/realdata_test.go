package rules

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"trailhound/rules/cloudtrail"
)

// eachRecord calls f for every line of a file in the decoder's testdata.
func eachRecord(t testing.TB, name string, f func(record []byte)) {
	t.Helper()
	file, err := os.Open(filepath.Join("cloudtrail", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(unzipped)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		f(lines.Bytes())
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
}

const (
	invictus = "real/invictus_aws_dataset.jsonl.gz"
	stratus  = "real/stratus_red_team_detonation.jsonl.gz"
	otrf     = "real/otrf_ec2_proxy_s3_exfiltration.jsonl.gz"
	panther  = "real/panther_analysis_cloudtrail_testcases.jsonl.gz"
)

// The alerts of the rules on real attacks (see the notes beside the data).
func TestRealData(t *testing.T) {
	for _, test := range []struct {
		file           string
		events         int
		alerts, family map[string]int // by rule; family: with denied_family
	}{
		{invictus, 2900, map[string]int{AccessDeniedID: 1}, map[string]int{AccessDeniedID: 4}},
		{stratus, 310, map[string]int{}, map[string]int{AccessDeniedID: 4}},
		{otrf, 103, map[string]int{}, map[string]int{}},
	} {
		for _, family := range []bool{false, true} {
			want := test.alerts
			if family {
				want = test.family
			}
			f := newFeeder(t, defaultLimits, realRules(family)...)
			events := 0
			got := map[string]int{}
			eachRecord(t, test.file, func(record []byte) {
				f.feed(record, func(ev *Event, rejected []Rejection, out Outcome) {
					events++
					for _, r := range append(rejected, out.Rejected...) {
						if !Skip(r.Reason) {
							t.Errorf("%s, event %s: rejected %+v; want none", test.file, ev.ID, r)
						}
					}
					for _, a := range out.Alerts {
						got[a.RuleID]++
					}
				})
			})
			if events != test.events {
				t.Errorf("%s has %d events; want %d", test.file, events, test.events)
			}
			for _, rule := range []string{AccessDeniedID, AssumeRoleUniqueIPID} {
				if got[rule] != want[rule] {
					t.Errorf("%s with denied_family %v: %d alerts of %s; want %d", test.file, family, got[rule], rule, want[rule])
				}
			}
		}
	}
}

func realRules(family bool) []Active {
	denied := NewAccessDenied()
	denied.DeniedFamily = family
	return []Active{{Rule: denied}, {Rule: NewAssumeRoleUniqueIP()}}
}

// Panther's test cases are partial, and odd on purpose: evaluation must not fail on any
// event that Decode makes of them. Thresholds of one make most of them alert.
func TestPartialEvents(t *testing.T) {
	denied := NewAccessDenied()
	denied.Threshold, denied.DeniedFamily = 1, true
	f := newFeeder(t, defaultLimits, Active{Rule: denied}, Active{Rule: NewAssumeRoleUniqueIP()})
	evaluated := 0
	eachRecord(t, panther, func(record []byte) {
		var test struct{ Event json.RawMessage }
		if err := json.Unmarshal(record, &test); err != nil {
			t.Fatal(err)
		}
		cloudtrail.Decode(test.Event, func(ev *Event, err error) bool {
			if err != nil {
				return true // the decoder's tests look at these
			}
			rejected, out := f.event(ev)
			evaluated++
			for _, r := range append(rejected, out.Rejected...) {
				if r.Reason == ReasonRulePanic {
					t.Errorf("event %s: %s", ev.Raw, r.Detail)
				}
			}
			return true
		})
	})
	if evaluated < 100 {
		t.Errorf("%d events of %s were evaluated; want hundreds", evaluated, panther)
	}
}
