package deploy_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"trailhound/config"
	"trailhound/rules"
)

var packUpdate = flag.Bool("update", false, "write the files that are generated")

// packWanted tells whether a missing tool is a failure, and whether tests of minutes run:
// CI sets it in one step.
func packWanted() bool { return os.Getenv("TRAILHOUND_TEST_PACKAGING") != "" }

// packSkip skips a test for a reason, unless packWanted.
func packSkip(t *testing.T, reason string) {
	t.Helper()
	if packWanted() {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

func packRead(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// packYAML reads a file of one YAML document.
func packYAML(t *testing.T, path string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := yaml.Unmarshal([]byte(packRead(t, path)), &v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return v
}

// packAt returns the value at a path of keys and indices in a YAML or JSON document, nil if
// there is none.
func packAt(v any, path ...any) any {
	for _, step := range path {
		switch at := v.(type) {
		case map[string]any:
			v = at[fmt.Sprint(step)]
		case []any:
			i, ok := step.(int)
			if !ok || i >= len(at) {
				return nil
			}
			v = at[i]
		default:
			return nil
		}
	}
	return v
}

// packWant compares the value at a path with its wish, as JSON.
func packWant(t *testing.T, name string, v any, want string, path ...any) {
	t.Helper()
	got, err := json.Marshal(packAt(v, path...))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s: %v = %s; want %s", name, path, got, want)
	}
}

// packConfig settles a configuration as the program does.
func packConfig(file string, environment []string) (*config.Config, error) {
	in := config.Input{File: file, Environment: environment, HostName: "host"}
	for _, spec := range rules.Builtin() {
		in.Rules = append(in.Rules, config.Rule{ID: spec.ID, Targets: []any{spec.New(), new(rules.DefaultOptions())}})
	}
	return config.Load(in)
}

var packFlags = regexp.MustCompile(`go build (-trimpath .*-ldflags "[^"]*main\.release=)`)

func TestPackDockerfile(t *testing.T) {
	text := packRead(t, "docker/Dockerfile")
	flags, release := packFlags.FindStringSubmatch(text), packFlags.FindStringSubmatch(packRead(t, "release"))
	if flags == nil || release == nil || flags[1] != release[1] {
		t.Errorf("the Dockerfile builds with %q, deploy/release with %q; want the same", flags, release)
	}
	if got := packRead(t, "../cmd/trailhound/version.go"); !strings.Contains(got, "\nvar release string\n") {
		t.Error("main.release, which the linker sets, is no variable of cmd/trailhound/version.go")
	}
	from := regexp.MustCompile(`(?m)^FROM (?:--platform=\S+ )?(\S+)`).FindAllStringSubmatch(text, -1)
	if len(from) != 2 || !regexp.MustCompile(`^golang:\d+\.\d+\.\d+-[a-z]+@sha256:[0-9a-f]{64}$`).MatchString(from[0][1]) || from[1][1] != "scratch" {
		t.Errorf("the image is built from %q; want golang of a full version with its digest, and scratch", from)
	}
	for _, line := range []string{
		"USER 65532:65532", `ENTRYPOINT ["/usr/local/bin/trailhound"]`, `CMD ["run"]`, "VOLUME /var/lib/trailhound",
		`CMD ["/usr/local/bin/trailhound", "health", "--live"]`, "CGO_ENABLED=0",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("the Dockerfile has no %s", line)
		}
	}
	environment := regexp.MustCompile(`\bTRAILHOUND_[A-Z_]+=\S+`).FindAllString(text, -1)
	c, err := packConfig("", environment)
	if err != nil || c.HTTP.Listen != ":9464" || !strings.HasPrefix(c.StateDir, "/var/lib/trailhound/") {
		t.Errorf("with the image's variables %q: %v, %v; want the server on all addresses and the state on the volume", environment, c, err)
	}
	for _, line := range strings.Fields(packRead(t, "../.dockerignore")) {
		if slices.Contains([]string{"cmd", "cmd/trailhound", "deploy", "LICENSE", "go.mod", "go.sum"}, strings.Trim(line, "/")) {
			t.Errorf(".dockerignore leaves out %s, which the build reads", line)
		}
	}
}

func TestPackCompose(t *testing.T) {
	c := packYAML(t, "docker/compose.yaml")
	services, _ := c["services"].(map[string]any)
	for name, s := range services {
		packWant(t, name, s, `["ALL"]`, "cap_drop")
		packWant(t, name, s, `["no-new-privileges:true"]`, "security_opt")
		image, _ := packAt(s, "image").(string)
		ours := strings.HasPrefix(image, "trailhound:")
		if !ours && !regexp.MustCompile(`^[a-z]+/[a-z]+:v?\d+\.\d+\.\d+@sha256:[0-9a-f]{64}$`).MatchString(image) {
			t.Errorf("%s: image %q; want one of a full version, with its digest", name, image)
		}
		for _, p := range packList(packAt(s, "ports")) {
			if !strings.HasPrefix(p, "127.0.0.1:") {
				t.Errorf("%s: port %s; want it on the loopback address alone", name, p)
			}
		}
		for _, v := range packList(packAt(s, "volumes")) {
			if from, _, _ := strings.Cut(v, ":"); strings.HasPrefix(from, ".") {
				if _, err := os.Stat(filepath.Join("docker", from)); err != nil {
					t.Errorf("%s: volume %s: %v", name, v, err)
				}
			} else if _, ok := c["volumes"].(map[string]any)[from]; !ok {
				t.Errorf("%s: volume %s is not among the volumes", name, from)
			}
		}
		if !ours {
			continue
		}
		packWant(t, name, s, "true", "read_only")
		var environment []string
		for k, v := range packAt(s, "environment").(map[string]any) {
			environment = append(environment, fmt.Sprintf("%s=%v", k, v))
		}
		settled, err := packConfig("", environment)
		if err != nil {
			t.Errorf("%s: environment: %v", name, err)
		} else if at := "INSIDE://" + settled.Kafka.Brokers[0]; !strings.Contains(packAt(services, "kafka", "environment", "KAFKA_ADVERTISED_LISTENERS").(string), at) {
			t.Errorf("%s: kafka.brokers is %q, where Kafka is not to be found", name, settled.Kafka.Brokers)
		}
	}
	var pom struct {
		Properties struct {
			Kafka string `xml:"kafka.version"`
		} `xml:"properties"`
	}
	if err := xml.Unmarshal([]byte(packRead(t, "kafka/pom.xml")), &pom); err != nil {
		t.Fatal(err)
	}
	if image, _ := packAt(services, "kafka", "image").(string); !strings.HasPrefix(image, "apache/kafka:"+pom.Properties.Kafka+"@") {
		t.Errorf("the image of Kafka is %s; want version %s, as in kafka/pom.xml", image, pom.Properties.Kafka)
	}
	packWant(t, "prometheus.yml", packYAML(t, "docker/prometheus.yml"), `"trailhound"`, "scrape_configs", 0, "job_name")
}

// packList returns the strings of a list.
func packList(v any) []string {
	var list []string
	items, _ := v.([]any)
	for _, item := range items {
		list = append(list, fmt.Sprint(item))
	}
	return list
}

// packExposure is the most that systemd-analyze may say of the unit: 0 is a service that can do nothing, 10 one that
// can do anything.
const packExposure = 15 // tenths

func TestPackUnit(t *testing.T) {
	unit := packRead(t, "systemd/trailhound.service")
	environment := regexp.MustCompile(`(?m)^Environment=(TRAILHOUND_\S+)`).FindAllStringSubmatch(unit, -1)
	var variables []string
	for _, e := range environment {
		if !strings.HasPrefix(e[1], config.FileVariable+"=") {
			variables = append(variables, e[1])
		}
	}
	c, err := packConfig("", variables)
	if err != nil || !strings.HasPrefix(c.StateDir, "/var/lib/trailhound/") {
		t.Errorf("with the unit's variables %q: %v, %v; want a state below StateDirectory", variables, c, err)
	}
	for _, line := range []string{"RestartPreventExitStatus=2", "Environment=GOTRACEBACK=crash", "StateDirectory=trailhound", "DynamicUser=yes"} {
		if !strings.Contains(unit, "\n"+line+"\n") {
			t.Errorf("the unit has no %s", line)
		}
	}
	if runtime.GOOS != "linux" {
		t.Skip("systemd is Linux's: the unit was read, and not verified")
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("no systemd-analyze here: the unit was read, and not verified")
	}
	// The program is not installed here, and verify wants one that is.
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "trailhound.service")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(unit, "/usr/local/bin/trailhound", self)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(analyze, "verify", "--man=no", file).CombinedOutput(); err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	threshold := fmt.Sprintf("--threshold=%d", packExposure)
	if out, err := exec.Command(analyze, "security", "--offline=true", threshold, file).CombinedOutput(); err != nil {
		t.Errorf("systemd-analyze security %s: %v\n%s", threshold, err, out)
	}
}

// TestPackRelease makes a release twice, from two places and in two environments.
func TestPackRelease(t *testing.T) {
	if !packWanted() {
		t.Skip("a release takes minutes: set TRAILHOUND_TEST_PACKAGING to make one")
	}
	other := filepath.Join(t.TempDir(), "elsewhere")
	if out, err := exec.Command("cp", "-R", "..", other).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v\n%s", err, out)
	}
	sums := map[string]string{}
	for root, environment := range map[string][]string{"..": {"TZ=UTC"}, other: {"TZ=Asia/Tokyo", "GOFLAGS=-buildvcs=true", "GOAMD64=v3"}} {
		dir := filepath.Join(t.TempDir(), "dist")
		release := exec.Command(filepath.Join(root, "deploy", "release"), "--dirty", "-p", "linux/amd64", "v0.0.1-rc.1", dir)
		release.Env = append(os.Environ(), environment...)
		if out, err := release.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", release, err, out)
		}
		sums[root] = packRead(t, filepath.Join(dir, "SHA256SUMS"))
	}
	if sums[".."] != sums[other] || strings.Count(sums[other], "\n") != 3 {
		t.Errorf("the two releases are\n%s\nand\n%s\nwant the same three files", sums[".."], sums[other])
	}
}

// TestPackRefusals: a release is made of a version and of committed files.
func TestPackRefusals(t *testing.T) {
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--dirty", "1.2.3"}, `"1.2.3" is no version`},
		{[]string{"--dirty", "v1.2.3", full}, "is not empty"},
		{[]string{}, "usage: deploy/release VERSION"},
		{[]string{"--wet", "v1.2.3"}, "usage: deploy/release VERSION"},
	} {
		out, err := exec.Command("./release", c.args...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), c.want) {
			t.Errorf("deploy/release %q: %v, %s; want a failure that says %s", c.args, err, out, c.want)
		}
	}
}
