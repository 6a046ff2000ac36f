package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// leaves returns the words of each command without subcommands, with the arguments that it
// wants.
func leaves(t *testing.T) [][]string {
	t.Helper()
	arguments := map[string][]string{
		"detect": {"-"}, "ingest": {"-"}, "explain": {"00000000-0000-5000-8000-000000000000"}, "rules show": {"access_denied"},
		"log-level": {"debug"}, "completion": {"bash"}, "rules test": {"testdata"}, "state seed": {"-"}, "state rewind": {"--to", "2026-01-01"},
	}
	var all [][]string
	var visit func(c *cobra.Command, path []string)
	visit = func(c *cobra.Command, path []string) {
		if len(c.Commands()) == 0 {
			all = append(all, append(slices.Clone(path), arguments[strings.Join(path, " ")]...))
		}
		for _, sub := range c.Commands() {
			visit(sub, append(slices.Clone(path), sub.Name()))
		}
	}
	visit(rootCommand(&app{}), nil)
	return all
}

// unconfigured are the commands that read no configuration.
var unconfigured = []string{"version", "completion bash", "config schema", "rules test testdata"}

// A wrong configuration ends every command with 2, in all its forms: a service manager must
// not start the command again, and a script must be able to tell it from a failure at work.
func TestWrongConfiguration(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	broken := put("broken.yaml", "shards: many\n")
	for name, way := range map[string]struct {
		environment, flags []string
		want               string
	}{
		"a file":                {nil, []string{"--config", broken}, broken + `:1:9: shards: "many"`},
		"a file by variable":    {[]string{"TRAILHOUND_CONFIG=" + broken}, nil, broken + `:1:9: shards: "many"`},
		"no YAML":               {nil, []string{"--config", put("no.yaml", "kafka:\n\tbrokers: []\n")}, "no.yaml:2:1: a tab"},
		"no such file":          {nil, []string{"--config", filepath.Join(dir, "none.yaml")}, "read the configuration: open "},
		"a directory":           {nil, []string{"--config", dir}, "read the configuration: read "},
		"no file by variable":   {[]string{"TRAILHOUND_CONFIG=" + dir + "/none.yaml"}, nil, "read the configuration: open "},
		"a parameter in a file": {nil, []string{"--config", put("parameter.yaml", "rules: {access_denied: {window: -1h}}\n")}, "parameter.yaml:1:33: rules.access_denied: window is -1h"},
		"a variable":            {[]string{"TRAILHOUND_SHARDS=many"}, nil, `TRAILHOUND_SHARDS: shards: "many"`},
		"an unknown variable":   {[]string{"TRAILHOUND_SHARDZ=1"}, nil, "TRAILHOUND_SHARDZ: no key"},
		"a variable's rule":     {[]string{"TRAILHOUND_RULES_ACCESS_DENIED_WINDOW=0"}, nil, "TRAILHOUND_RULES_ACCESS_DENIED_WINDOW: rules.access_denied: window is 0s"},
		"--set":                 {nil, []string{"--set", "shards=many"}, `--set shards: "many"`},
		"--set of a rule":       {nil, []string{"--set", "rules.access_denied.error_codes="}, "--set rules.access_denied.error_codes: error_codes is empty"},
		"--set that needs room": {nil, []string{"--set", "limits.max_set_members=9", "--set", "rules.access_denied.window_kind=sliding"}, "--set limits.max_set_members: rules.access_denied: threshold is 10"},
	} {
		for _, args := range leaves(t) {
			if slices.Contains(unconfigured, strings.Join(args, " ")) {
				continue
			}
			r := command(t.Context(), "", way.environment, append(slices.Clone(way.flags), args...)...)
			if r.code != exitUsage || r.stdout != "" || strings.Count(r.stderr, "\n") != 1 || !strings.Contains(r.stderr, way.want) {
				t.Errorf("%s: %q = %d, %q, %q; want 2 and one line with %q", name, args, r.code, r.stdout, r.stderr, way.want)
			}
		}
	}
}

// config check names the file that it has read, the flag or variable that named it, and the
// file that it has not read.
func TestConfigCheckSources(t *testing.T) {
	t.Chdir(t.TempDir())
	put := func(name, text string) {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check := func(want string, environment []string, args ...string) {
		t.Helper()
		r := command(t.Context(), "", environment, append([]string{"config", "check"}, args...)...)
		if r.code != exitDone || lines(r.stdout)[0] != want {
			t.Errorf("config check %q = %d, %q, %q; want 0 and first %q", args, r.code, r.stdout, r.stderr, want)
		}
	}
	check("no file is read: defaults", nil)
	check("no file is read: defaults, 2 variables, 1 --set", []string{"TRAILHOUND_SHARDS=3", "TRAILHOUND_APP_ID=x"}, "--set", "start=latest")
	put("trailhound.yml", "shards: [\n")
	check("no file is read: defaults; ./trailhound.yml exists and is not read: give --config trailhound.yml", nil)
	put("trailhound.yaml", "shards: 4\n")
	check("no file is read: defaults; ./trailhound.yaml exists and is not read: give --config trailhound.yaml", nil)
	check("read: trailhound.yaml (--config)", nil, "--config", "trailhound.yaml")
	check("read: trailhound.yaml (TRAILHOUND_CONFIG), 1 variable", []string{"TRAILHOUND_CONFIG=trailhound.yaml", "TRAILHOUND_APP_ID=x"})
	for _, text := range []string{"", "\n", "# shards: 4\n", "kafka:\n", "---\n"} {
		put("empty.yaml", text)
		check("read: empty.yaml (--config), which sets nothing: it is empty, or holds nothing but comments and keys without values", nil, "--config", "empty.yaml")
	}
	r := command(t.Context(), "", nil, "config", "check", "--set", "rules.access_denied=false", "--set", "rules.assume_role_unique_ip=false")
	if r.code != exitDone || r.stderr != "warning: no rule is on: nothing would be evaluated\n" {
		t.Errorf("config check without rules = %d, %q; want 0 and a warning", r.code, r.stderr)
	}
}

// Files that the configuration names are opened and read as connections read them; all
// failures are reported, each with its place in the configuration. state_dir may be
// missing, but must be writable, and nothing stays behind.
func TestConfigCheckOpens(t *testing.T) {
	certificates := authority(t)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	put := func(name, text string) string {
		if err := os.WriteFile(at(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return at(name)
	}
	empty := put("empty", "")
	pem := func(name string) string { return filepath.Join(certificates, name) }
	good := []string{
		"kafka.tls.enabled=true", "kafka.tls.ca_file=" + pem("ca.pem"), "kafka.tls.cert_file=" + pem("client.pem"), "kafka.tls.key_file=" + pem("client.key"),
		"kafka.sasl.mechanism=plain", "kafka.sasl.username=u", "kafka.sasl.password_file=" + put("password", "secret\n"), "state_dir=" + at("deep/down/state"),
	}
	check := func(set ...string) result {
		return command(t.Context(), "", nil, append([]string{"config", "check"}, sets(append(slices.Clone(good), set...))...)...)
	}
	before, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if r := check(); r.code != exitDone || r.stderr != "" {
		t.Errorf("config check with files that are right = %d, %q; want 0", r.code, r.stderr)
	}
	if r := check("state_dir=" + dir); r.code != exitDone || r.stderr != "" {
		t.Errorf("config check with a state_dir that is there = %d, %q; want 0", r.code, r.stderr)
	}
	if after, err := os.ReadDir(dir); err != nil || len(after) != len(before) {
		t.Errorf("config check leaves %v in the directory, %v; want %v", after, err, before)
	}
	oauth := []string{"kafka.sasl.mechanism=oauthbearer", "kafka.sasl.username=", "kafka.sasl.password_file="}
	for _, tt := range []struct {
		set  []string
		want []string
	}{
		{[]string{"kafka.tls.ca_file=/no/ca.pem"}, []string{"--set kafka.tls.ca_file: open /no/ca.pem: no such file"}},
		{[]string{"kafka.tls.ca_file=" + empty}, []string{"--set kafka.tls.ca_file: there is no PEM certificate in " + empty}},
		{[]string{"kafka.tls.cert_file=/no/c.pem"}, []string{"--set kafka.tls.cert_file: open /no/c.pem: no such file"}},
		{[]string{"kafka.tls.key_file=/no/c.key"}, []string{"--set kafka.tls.key_file: open /no/c.key: no such file"}},
		{[]string{"kafka.tls.key_file=" + pem("server.key")}, []string{"--set kafka.tls.key_file: ", "private key does not match"}},
		{[]string{"kafka.sasl.password_file=" + empty}, []string{"--set kafka.sasl.password_file: " + empty + " is empty"}},
		{append(slices.Clone(oauth), "kafka.sasl.token_file="+dir), []string{"--set kafka.sasl.token_file: read " + dir + ": is a directory"}},
		{append(slices.Clone(oauth), "kafka.sasl.oauth.token_url=https://a/t", "kafka.sasl.oauth.client_id=i", "kafka.sasl.oauth.client_secret_file=/no/secret"), []string{"--set kafka.sasl.oauth.client_secret_file: open /no/secret"}},
		{[]string{"state_dir=" + empty}, []string{"--set state_dir: " + empty + " is a file; name a directory"}},
		{[]string{"state_dir=" + empty + "/x"}, []string{"--set state_dir: ", "not a directory"}},
		{[]string{"state_dir=/proc/x"}, []string{"--set state_dir: /proc/x does not exist and cannot be made by this user"}},
		{
			[]string{"kafka.tls.ca_file=/no/ca.pem", "kafka.tls.cert_file=/no/c.pem", "kafka.tls.key_file=/no/c.key", "kafka.sasl.password_file=/no/p", "state_dir=/proc/x"},
			[]string{"kafka.tls.ca_file", "kafka.tls.cert_file", "kafka.tls.key_file", "kafka.sasl.password_file", "state_dir"},
		},
	} {
		r := check(tt.set...)
		if r.code != exitUsage || r.stdout != "" || len(tt.want) > 2 && len(lines(r.stderr)) != len(tt.want) {
			t.Errorf("config check with %q = %d, %q, %q; want 2 and lines with %q", tt.set, r.code, r.stdout, r.stderr, tt.want)
		}
		for _, want := range tt.want {
			if !strings.Contains(r.stderr, want) {
				t.Errorf("config check with %q says %q; want %q in it", tt.set, r.stderr, want)
			}
		}
		whole := sets(append(slices.Clone(good), tt.set...))
		r = command(t.Context(), "", nil, append([]string{"config", "check", "--no-files"}, whole...)...)
		if r.code != exitDone {
			t.Errorf("config check --no-files with %q = %d, %q; want 0", tt.set, r.code, r.stderr)
		}
	}
}

func TestConfigCheckJSON(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("c.yaml", []byte("shards: 4\nstate_dir: /proc/x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		`{"ok":true,"file":"c.yaml","given_by":"--config","unread":"","keys":{"file":2,"variables":0,"set":1},`: {"--no-files", "--config", "c.yaml", "--set", "start=latest"},
		`"problems":[{"where":"c.yaml:2:12","key":"state_dir","text":"/proc/x does not exist`:                   {"--config", "c.yaml"},
		`{"ok":false,"file":"","given_by":"","unread":"","keys":{"file":0,"variables":0,"set":0},`:              {"--set", "shards=x"},
		`"problems":[{"where":"--set shards","key":"shards","text":"\"x\" is not a whole number"}]}`:            {"--set", "shards=x"},
	} {
		r := command(t.Context(), "", nil, append([]string{"config", "check", "--json"}, args...)...)
		var out struct{ OK bool }
		if err := json.Unmarshal([]byte(r.stdout), &out); err != nil || !strings.Contains(r.stdout, want) || out.OK != (r.code == exitDone) || !out.OK && r.code != exitUsage {
			t.Errorf("config check --json %q = %d, %s, %v; want %s in it", args, r.code, r.stdout, err, want)
		}
	}
}
