package deploy_test

import (
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// obsSections splits a page at its headings of the second level.
func obsSections(text string) map[string]string {
	sections := map[string]string{}
	for i, part := range strings.Split(text, "\n## ") {
		title, body, _ := strings.Cut(part, "\n")
		if i > 0 {
			sections[title] = body
		}
	}
	return sections
}

// Each alarm has a section that says the five things, in their order; no section is
// left of an alarm that is gone.
func TestRunbookHasEveryAlert(t *testing.T) {
	sections := obsSections(obsText(t, obsRunbook))
	alerts := map[string]bool{"Looking": true}
	for _, r := range obsRules(t) {
		if r.Alert == "" {
			continue
		}
		alerts[r.Alert] = true
		body, ok := sections[r.Alert]
		if !ok {
			t.Errorf("%s has no section %s", obsRunbook, r.Alert)
			continue
		}
		at := -1
		for _, lead := range []string{"Means", "Noticed as", "Look", "Do", "Do not"} {
			i := strings.Index(body, "**"+lead+".**")
			if i <= at {
				t.Errorf("section %s of %s: **%s.** is missing, or out of order", r.Alert, obsRunbook, lead)
			}
			at = i
		}
	}
	for title := range sections {
		if !alerts[title] {
			t.Errorf("%s has a section %s, and there is no such alert", obsRunbook, title)
		}
	}
}

// TestRunbookQuotesTheProgram: the program prints every text that the runbook quotes, in
// quotation marks or in a first column with a title that ends in "says".
func TestRunbookQuotesTheProgram(t *testing.T) {
	var program strings.Builder
	for _, dir := range []string{"../consumer", "../state", "../cmd/trailhound", "../rules"} {
		err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
			if err == nil && filepath.Ext(name) == ".go" && !strings.HasSuffix(name, "_test.go") {
				program.WriteString(obsText(t, name))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	said := program.String()
	code := regexp.MustCompile("`[^`]+`")
	quotes, saying := 0, false
	for line := range strings.Lines(obsText(t, obsRunbook)) {
		cells := strings.Split(line, "|")
		if len(cells) < 3 {
			saying = false
		} else if strings.HasSuffix(strings.TrimSpace(cells[1]), "says") {
			saying = true
			continue
		}
		for _, span := range code.FindAllString(line, -1) {
			quote := strings.Trim(span, "`")
			inner, quoted := strings.CutPrefix(quote, `"`)
			inner, closed := strings.CutSuffix(inner, `"`)
			first := saying && strings.Contains(cells[1], span)
			switch {
			case quoted && closed && !strings.Contains(inner, `"`):
				quote = inner
			case !first:
				continue
			}
			quotes++
			if !strings.Contains(said, quote) {
				t.Errorf("%s quotes %q, which the program does not say", obsRunbook, quote)
			}
		}
	}
	if quotes < 20 {
		t.Errorf("%d quotes were looked at; want all of them", quotes)
	}
}

// Metrics, panels and reasons that the runbook speaks of are there.
func TestRunbookSpeaksOfWhatThereIs(t *testing.T) {
	text, known := obsText(t, obsRunbook), obsMetrics(t)
	for _, name := range regexp.MustCompile(`\btrailhound_[a-z_]+`).FindAllString(text, -1) {
		if _, ok := known[name]; !ok {
			t.Errorf("%s speaks of %s, which does not exist", obsRunbook, name)
		}
	}
	var titles []string
	for _, p := range obsReadDashboard(t).Panels {
		titles = append(titles, p.Title)
	}
	flat := strings.Join(strings.Fields(text), " ")
	for _, m := range regexp.MustCompile(`[^"\x60]"([A-Z][^"\x60]+)"|row ([A-Z]\w+)`).FindAllStringSubmatch(flat, -1) {
		if title := m[1] + m[2]; !slices.Contains(titles, title) {
			t.Errorf("%s speaks of the panel or row %q of the dashboard, which has none", obsRunbook, title)
		}
	}
	given := obsSections(text)["TrailhoundEventsGivenUp"]
	for _, r := range obsRules(t) {
		if r.Alert != "TrailhoundEventsGivenUp" {
			continue
		}
		for _, s := range obsParse(r.Expr).selectors {
			for reason := range strings.SplitSeq(s.matchers["reason"], "|") {
				if !strings.Contains(given, "`"+reason+"`") {
					t.Errorf("section %s of %s does not say what to do about %s", r.Alert, obsRunbook, reason)
				}
			}
		}
	}
}
