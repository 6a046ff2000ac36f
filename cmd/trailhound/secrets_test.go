package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
)

const (
	plantedSecret  = "pl4nted-s3cret-in-the-configuration"
	plantedInEvent = "pl4nted-s3cret-in-an-event"
)

// secretWays are the ways in which a password gets into the program.
func secretWays(t *testing.T) map[string]struct{ yaml, env, arg string } {
	t.Helper()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(plantedSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return map[string]struct{ yaml, env, arg string }{
		"file":          {yaml: "password: " + plantedSecret},
		"password_file": {yaml: "password_file: " + file},
		"environment":   {env: "TRAILHOUND_KAFKA_SASL_PASSWORD=" + plantedSecret},
		"command line":  {arg: "--set=kafka.sasl.password=" + plantedSecret},
	}
}

func holdsSecret(text string) bool {
	return strings.Contains(text, plantedSecret) || strings.Contains(text, plantedInEvent)
}

// The commands never print a secret of a configuration, right or wrong, not even one in the
// wrong place.
func TestSecretsAreNotPrinted(t *testing.T) {
	for name, way := range secretWays(t) {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "trailhound.yaml")
			if err := os.WriteFile(file, []byte("kafka: {sasl: {mechanism: plain, username: u, "+way.yaml+"}}\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			environment := []string{way.env}
			for _, args := range [][]string{
				{"config", "print"},
				{"config", "check"},
				{"config", "check", "--set", "shards=0"},
				{"config", "print", "--set", "kafka.sasl.mechanism=scram-sha-256"},
				{"run", "--set", "kafka.brokers=127.0.0.1:1", "--set", "http.listen="},
			} {
				if way.arg != "" {
					args = append(args, way.arg)
				}
				got := command(t.Context(), "", environment, append([]string{"--config", file}, args...)...)
				if holdsSecret(got.stdout + got.stderr) {
					t.Errorf("%v prints the password:\n%s%s", args, got.stdout, got.stderr)
				}
			}
		})
	}
	for _, set := range [][]string{
		{"kafka.sasl.mechanism=oauthbearer", "kafka.sasl.token=" + plantedSecret},
		{"kafka.sasl.mechanism=oauthbearer", "kafka.sasl.oauth.token_url=http://127.0.0.1:1/", "kafka.sasl.oauth.client_id=i", "kafka.sasl.oauth.client_secret=" + plantedSecret},
	} {
		for _, args := range [][]string{{"config", "print"}, {"topics", "check", "--set", "kafka.brokers=127.0.0.1:1"}} {
			if got := command(t.Context(), "", nil, append(args, sets(set)...)...); holdsSecret(got.stdout + got.stderr) {
				t.Errorf("%v with %q prints the secret:\n%s%s", args, set[:1], got.stdout, got.stderr)
			}
		}
	}
	for _, arg := range []string{
		"kafka.sasl.passwrd=" + plantedSecret, "kafka.sasl.password:" + plantedSecret, "kafka.sasl.password=[" + plantedSecret, "kafka.sasl={password: " + plantedSecret, "kafka.sasl.password " + plantedSecret, "kafka.sasl={password: " + plantedSecret + ", x: 1}",
		"kafka.sasl={password: {a: " + plantedSecret + "}}", "kafka={sasl: {password: [" + plantedSecret + "]}}",
	} {
		if got := command(t.Context(), "", nil, "config", "check", "--set", arg); holdsSecret(got.stdout + got.stderr) {
			t.Errorf("--set with a secret in the wrong form prints it: %s", got.stderr)
		}
	}
	if got := command(t.Context(), "", []string{"TRAILHOUND_KAFKA_SASL_PASSWRD=" + plantedSecret}, "config", "check"); holdsSecret(got.stderr) {
		t.Errorf("a mistyped variable prints its value: %s", got.stderr)
	}
}

// No output of a service (log, metrics, status, profiles, the dump of a crash) holds the
// password, or content of an event.
func TestSecretsAreNotTold(t *testing.T) {
	t.Parallel()
	const user = "trail"
	cluster := fakeCluster(t, kfake.EnableSASL(), kfake.Superuser("PLAIN", user, plantedSecret), kfake.SeedTopics(1, "in"))
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	producer, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.SASL(plain.Auth{User: user, Pass: plantedSecret}.AsMechanism()))
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	for name, way := range secretWays(t) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "trailhound.yaml")
			text := fmt.Sprintf(`app_id: %s
kafka: {brokers: [%q], sasl: {mechanism: plain, username: %s, %s}}
topics: {input: [in], alerts: %[5]s-alerts, dead_letter: %[5]s-dead}
state_dir: %[6]s
http: {listen: "127.0.0.1:0", pprof: true}
log: {level: debug}
rules: {access_denied: {threshold: 2}}
`, uniqueName(), cluster.ListenAddrs()[0], user, way.yaml, uniqueName(), filepath.Join(dir, "state"))
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			s := &site{T: t, config: file, dir: dir}
			p := s.program([]string{"run"})
			args := []string{"--config", file, "run"}
			if way.arg != "" {
				args = append(args, way.arg)
			}
			cmd := exec.CommandContext(t.Context(), executable, args...)
			cmd.Env, cmd.Stdout, cmd.Stderr = []string{asProgram + "=1", "GOTRACEBACK=all", way.env}, &p.stdout, &p.stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			p.expectEnd()
			defer func() {
				if cmd.ProcessState == nil {
					_ = cmd.Process.Kill()
					_ = cmd.Wait()
				}
			}()
			await(t, "the service to be ready", func() bool { code, _ := p.get("/readyz"); return code == http.StatusOK })
			for n := range 3 {
				event := strings.Replace(strings.TrimSpace(denial(n, name)), `"eventVersion"`, `"responseElements":"`+plantedInEvent+`","eventVersion"`, 1)
				for _, value := range []string{event, `{"Records": "` + plantedInEvent, plantedInEvent} {
					if err := producer.ProduceSync(t.Context(), &kgo.Record{Topic: "in", Value: []byte(value)}).FirstErr(); err != nil {
						t.Fatal(err)
					}
				}
			}
			var said strings.Builder
			await(t, "an alert and dead letters", func() bool {
				return p.metric(`trailhound_alerts_total{rule="access_denied"}`) > 0 && p.metric(`trailhound_dead_letters_total{reason="not_json"}`) > 0
			})
			for _, path := range []string{"/metrics", "/status", "/readyz", "/debug/pprof/", "/debug/pprof/goroutine?debug=2", "/debug/pprof/cmdline", "/loglevel"} {
				_, body := p.get(path)
				said.WriteString(body)
			}
			if err := cmd.Process.Signal(syscall.SIGQUIT); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			close(p.ended)
			dump := p.stderr.String()
			if !strings.Contains(dump, "goroutine ") || !strings.Contains(dump, `"level":"debug"`) {
				t.Fatalf("want a log of level debug and the dump of a crash, or this test sees nothing:\n%s", dump)
			}
			said.WriteString(dump)
			said.WriteString(p.stdout.String())
			for _, planted := range []string{plantedSecret, plantedInEvent} {
				for line := range strings.Lines(said.String()) {
					if strings.Contains(line, planted) {
						t.Errorf("the service told %q: %s", planted, line)
					}
				}
			}
		})
	}
}
