package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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

// TestPackSupply: a vulnerable module fails, a build without one passes, and a database out
// of reach is reported.
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

// TestPackPinned: actions and images of others are named by a digest, with the version
// beside it: a tag can be moved by its owner, or by an attacker in the owner's place.
func TestPackPinned(t *testing.T) {
	workflows, err := filepath.Glob("../.github/workflows/*")
	if err != nil || len(workflows) < 2 {
		t.Fatalf("workflows: %q, %v; want several", workflows, err)
	}
	pinned := regexp.MustCompile(`^[\w.-]+(?:/[\w.-]+)+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`)
	digests := map[string]string{} // of actions, each to be the same everywhere
	for _, file := range workflows {
		for _, use := range regexp.MustCompile(`(?m)\buses: *(.*)$`).FindAllStringSubmatch(packRead(t, file), -1) {
			name, _, _ := strings.Cut(use[1], "@")
			if strings.HasPrefix(name, "./") {
				continue
			}
			if !pinned.MatchString(use[1]) {
				t.Errorf("%s uses %s; want a commit of 40 digits, and its version as a comment: # v1.2.3", file, use[1])
			}
			if digests[name] != "" && digests[name] != use[1] {
				t.Errorf("%s uses %s, another workflow %s", file, use[1], digests[name])
			}
			digests[name] = use[1]
		}
	}
	for _, file := range []string{"docker/Dockerfile", "docker/compose.yaml"} {
		for _, image := range regexp.MustCompile(`(?m)^(?:# syntax=|FROM (?:--platform=\S+ )?| *image: )(\S+)`).FindAllStringSubmatch(packRead(t, file), -1) {
			if name := image[1]; name != "scratch" && !strings.HasPrefix(name, "trailhound:") && !regexp.MustCompile(`^[\w./-]+:v?\d[\w.-]*@sha256:[0-9a-f]{64}$`).MatchString(name) {
				t.Errorf("%s names the image %s; want a version and a digest, name:1.2.3@sha256:…", file, name)
			}
		}
	}
	// Digests that stay while vulnerabilities are found in them are worse than tags.
	ecosystems := map[string]bool{}
	updates, _ := packYAML(t, "../.github/dependabot.yml")["updates"].([]any)
	for _, u := range updates {
		name, _ := packAt(u, "package-ecosystem").(string)
		ecosystems[name] = true
	}
	for _, want := range []string{"github-actions", "docker", "docker-compose", "gomod"} {
		if !ecosystems[want] {
			t.Errorf(".github/dependabot.yml does not look after %s", want)
		}
	}
}
