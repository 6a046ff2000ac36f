package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// packVulnerability says that the logger, which the service calls, is vulnerable in every version.
// https://go.dev/doc/security/vuln/database
const packVulnerability = `{
	"schema_version": "1.3.1", "id": "GO-2026-0001", "modified": "2026-01-01T00:00:00Z", "published": "2026-01-01T00:00:00Z",
	"summary": "Made up", "details": "Made up for a test.",
	"affected": [{
		"package": {"name": "github.com/rs/zerolog", "ecosystem": "Go"},
		"ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}]}],
		"ecosystem_specific": {"imports": [{"path": "github.com/rs/zerolog", "symbols": ["New"]}]}
	}]
}`

// TestPackSupply: what is vulnerable fails, what is not passes, and who could not look says so.
func TestPackSupply(t *testing.T) {
	if !packWanted() {
		t.Skip("govulncheck takes half a minute a run: set TRAILHOUND_TEST_PACKAGING to run it")
	}
	database := func(files map[string]string) string {
		dir := t.TempDir()
		for name, text := range files {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return "TRAILHOUND_VULNERABILITIES=file://" + dir
	}
	const made = `{"modified": "2026-01-01T00:00:00Z"}`
	for _, c := range []struct {
		name, environment string
		passes            bool
		want              string
	}{
		{"nothing is vulnerable", database(map[string]string{"index/db.json": made, "index/modules.json": "[]", "index/vulns.json": "[]"}),
			true, "No vulnerabilities found"},
		{"the logger is", database(map[string]string{
			"index/db.json":        made,
			"index/modules.json":   `[{"path": "github.com/rs/zerolog", "vulns": [{"id": "GO-2026-0001", "modified": "2026-01-01T00:00:00Z"}]}]`,
			"index/vulns.json":     `[{"id": "GO-2026-0001", "modified": "2026-01-01T00:00:00Z"}]`,
			"ID/GO-2026-0001.json": packVulnerability,
		}), false, "GO-2026-0001"},
		{"a database that is named is not there", "TRAILHOUND_VULNERABILITIES=file://" + filepath.Join(t.TempDir(), "none"), false, "no such file"},
		{"the public one cannot be reached", "HTTPS_PROXY=http://127.0.0.1:1", true, "SKIPPED: the vulnerability database cannot be reached"},
	} {
		supply := exec.Command("../.ci/supply")
		supply.Env = append(os.Environ(), c.environment)
		out, err := supply.CombinedOutput()
		if (err == nil) != c.passes || !strings.Contains(string(out), c.want) {
			t.Errorf("%s: .ci/supply = %v\n%s\nwant it to pass: %t, and to say %s", c.name, err, out, c.passes, c.want)
		}
	}
}
