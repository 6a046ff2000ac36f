package rules_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"trailhound/rules"
)

var readmeBlock = regexp.MustCompile("(?ms)^   ```(\\w+)\n(.*?)^   ```$")

// README.md's rule of one's own is the one that example_test.go compiles, but for the name
// of the package, and its tests are enough for go test.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := map[string]string{}
	for _, m := range readmeBlock.FindAllStringSubmatch(string(readme), -1) {
		if blocks[m[1]] == "" {
			blocks[m[1]] = regexp.MustCompile("(?m)^   ").ReplaceAllString(m[2], "")
		}
	}
	_, rule, _ := strings.Cut(blocks["go"], "\n)\n")
	inPackage := strings.NewReplacer("rules.", "", "Name: ", "", "Value: ", "").Replace(string(example))
	if rule == "" || !strings.Contains(inPackage, rule) {
		t.Errorf("README.md has the rule\n%s\nwhich is not that of example_test.go", rule)
	}
	_, resume, _ := strings.Cut(string(readme), "\n```go\nfunc (r *ConsoleLogins) Resume")
	if resume, _, _ = strings.Cut(resume, "```"); resume == "" || !strings.Contains(inPackage, resume) {
		t.Errorf("README.md has the method Resume%s\nwhich is not that of example_test.go", resume)
	}
	known := rules.Spec{ID: "console_logins", New: func() rules.Rule { return &ConsoleLogins{Max: 5} }}
	file, err := suite(known).Read("README.md", []byte(blocks["yaml"]))
	if err != nil {
		t.Fatal(err)
	}
	if len(file.Tests) != len(kinds) {
		t.Errorf("README.md has %d tests; want %d, those of %q", len(file.Tests), len(kinds), kinds)
	}
	for i, test := range file.Tests {
		if failure, err := test.Run(t.Context()); failure != nil || err != nil {
			t.Errorf("the test %q of README.md: %v, %v; want it to pass", test.Name, failure, err)
		}
		if kind, _, _ := strings.Cut(test.Name, ":"); i >= len(kinds) || kind != kinds[i] {
			t.Errorf("test %d of README.md is %q; want those of %q", i+1, test.Name, kinds)
		}
	}
}
