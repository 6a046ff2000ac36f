package deploy_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// docWalk is a newcomer at a terminal, in a directory that looks like the root of a checkout.
type docWalk struct {
	*testing.T
	brokers       []string
	dir           string
	input, alerts string // topics
	environment   []string
	addresses     *strings.Replacer // of the pages, by those of the test
	listen        string            // the first HTTP address
}

func newDocWalk(t *testing.T, brokers []string) *docWalk {
	t.Helper()
	for _, name := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("the steps of the pages need %s: %v", name, err)
		}
	}
	root, err := filepath.Abs(docRoot)
	if err != nil {
		t.Fatal(err)
	}
	w := &docWalk{T: t, brokers: brokers, dir: t.TempDir(), listen: docFreeAddress(t)}
	for _, name := range []string{"cmd", "deploy", "rules"} {
		if err := os.Symlink(filepath.Join(root, name), filepath.Join(w.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	id := docName()
	w.input, w.alerts = id+"-in", id+"-alerts"
	docDeleteAtEnd(t, brokers, w.input, w.alerts, id+"-dead", id+".work", id+".state")
	w.environment = append(docEnvironment(), "ROOT="+root, "BINARY="+docBuild(t, docProgram), "TRAILHOUND_APP_ID="+id, "TRAILHOUND_KAFKA_BROKERS="+strings.Join(brokers, ","),
		"TRAILHOUND_TOPICS_INPUT="+w.input, "TRAILHOUND_TOPICS_ALERTS="+w.alerts, "TRAILHOUND_TOPICS_DEAD_LETTER="+id+"-dead",
		"TRAILHOUND_HTTP_LISTEN="+w.listen)
	w.addresses = strings.NewReplacer("127.0.0.1:9092", strings.Join(brokers, ","), "127.0.0.1:9464", w.listen, "127.0.0.1:9465", docFreeAddress(t),
		"--topic cloudtrail ", "--topic "+w.input+" ")
	return w
}

// docFreeAddress returns an address for a process that is started later. It is below the ports
// that the kernel hands out: one of those may be another test's broker by then.
func docFreeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(12_000)))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("100 ports below those that the kernel hands out are taken")
	return ""
}

// docPrelude makes a shell of the checkout: its go build leaves the program, which all tests
// share, in the walk's own directory.
const docPrelude = `set -euo pipefail
go() {
	if [ "$*" != "build ./cmd/trailhound" ]; then echo "go $*: the walk knows only go build ./cmd/trailhound" >&2; return 1; fi
	cp "$BINARY" trailhound
}
kafka-topics.sh() { "$ROOT/deploy/kafka/kafka.sh" tool topics "$@"; }
`

// start begins the script in a process group that ends with the test. Each line of stdout
// goes to line.
func (w *docWalk) start(script string, line func(string)) (wait func() error, end func()) {
	w.Helper()
	cmd := exec.Command("bash", "-c", docPrelude+w.addresses.Replace(script))
	cmd.Dir, cmd.Env = w.dir, w.environment
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 10 * time.Second
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		w.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		s := bufio.NewScanner(out)
		s.Buffer(nil, 8<<20)
		for s.Scan() {
			line(s.Text())
		}
		done <- cmd.Wait()
	}()
	end = sync.OnceFunc(func() {
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM); err != nil && err != syscall.ESRCH {
			w.Error(err)
		}
	})
	wait = sync.OnceValue(func() error {
		select {
		case err := <-done:
			return err
		case <-time.After(docPatience):
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // the rest of its process group
			w.Errorf("the steps have not ended after %s", docPatience)
			return <-done
		}
	})
	w.Cleanup(func() {
		end()
		_ = wait() // by a signal: judged where it matters
		if w.Failed() {
			w.Logf("the steps wrote on stderr:\n%s", errs.String())
			for _, name := range []string{"a.log", "b.log"} {
				if text, err := os.ReadFile(filepath.Join(w.dir, name)); err == nil {
					w.Logf("%s:\n%s", name, text)
				}
			}
		}
	})
	return wait, end
}

// docSection returns the blocks for the shell of a page, or of one section of it.
func docSection(t *testing.T, name, from, to string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(docRoot, name))
	if err != nil {
		t.Fatal(err)
	}
	part := string(text)
	if from != "" {
		_, after, found := strings.Cut(part, from)
		before, _, ends := strings.Cut(after, to)
		if !found || !ends {
			t.Fatalf("%s has no part from %q to %q", name, from, to)
		}
		part = before
	}
	script := ""
	for _, b := range docParse(name, part).blocks {
		if b.language == "sh" {
			script += b.text
		}
	}
	if script == "" {
		t.Fatalf("%s has no block for the shell from %q to %q", name, from, to)
	}
	return script
}

// docAlert is the members of an alert that the walks look at.
type docAlert struct {
	ID   string `json:"id"`
	Rule string `json:"rule_id"`
}

// The steps of the README "Against a real Kafka", as they stand, end with the two alerts of the sample.
func TestDocReadmeWalk(t *testing.T) {
	t.Parallel()
	docEachKafka(t, func(t *testing.T, brokers []string) {
		w := newDocWalk(t, brokers)
		script := docSection(t, "README.md", "\n## Against a real Kafka\n", "\n## ")
		create, other, found := strings.Cut(script, "# or: ")
		other, _, _ = strings.Cut(other, "\n")
		if !found || !strings.Contains(create, "kafka-topics.sh") {
			t.Fatalf("README.md creates its topics by %q; want kafka-topics.sh, and another way in a comment behind it", script)
		}
		if len(docRealKafka()) == 0 || brokers[0] != docRealKafka()[0] { // Kafka's own tools are for Kafka
			at := strings.LastIndex(create, "kafka-topics.sh")
			script = create[:at] + other + strings.TrimPrefix(script[len(create):], "# or: "+other)
		}
		// A reader of the page types on once the service runs: the script has to wait for that.
		const started = "./trailhound run 2>run.log &"
		if strings.Count(script, started) != 1 {
			t.Fatalf("README.md does not start the service by %q: %s", started, script)
		}
		before, after, _ := strings.Cut(script, started)
		_, after, _ = strings.Cut(after, "\n")
		script = before + started + "\nuntil curl -fs 127.0.0.1:9464/readyz; do sleep 0.2; done\n" + after

		seen := make(chan docAlert, 1000)
		wait, end := w.start(script, func(line string) {
			var a docAlert
			if json.Unmarshal([]byte(line), &a) == nil && a.ID != "" {
				seen <- a
			}
		})
		rules := map[string]string{}
		for deadline := time.After(docPatience); len(rules) < 2; {
			select {
			case a := <-seen:
				rules[a.Rule] = a.ID
			case <-deadline:
				t.Fatalf("alerts %v after %s; want one of each rule", rules, docPatience)
			}
		}
		end()
		if err := wait(); err != nil {
			t.Logf("the shell ended by %v", err) // it was told to, while it waited for alerts
		}
		if rules["access_denied"] == "" || rules["assume_role_unique_ip"] == "" {
			t.Errorf("alerts of %v; want one of access_denied and one of assume_role_unique_ip", rules)
		}
	})
}

// The steps of the first hour, as they stand, run to their end, and leave the two alerts of the sample, each once.
func TestDocFirstHourWalk(t *testing.T) {
	t.Parallel()
	docEachKafka(t, func(t *testing.T, brokers []string) {
		w := newDocWalk(t, brokers)
		wait, _ := w.start(docSection(t, "deploy/first-hour.md", "", ""), func(line string) { t.Log(line) })
		if err := wait(); err != nil {
			t.Fatalf("the steps of deploy/first-hour.md: %v", err)
		}
		if alerts := w.committed(); len(alerts) != 2 || alerts[0] == alerts[1] {
			t.Errorf("alerts %q; want two, each once", alerts)
		}
	})
}

// committed returns the ids of the alerts in the topic. Nothing may be written to it meanwhile.
func (w *docWalk) committed() (ids []string) {
	w.Helper()
	end := []byte(`{"the end": true}`)
	client := docClient(w.T, w.brokers, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	const partitions = 4 // topics.alert_partitions
	for p := range int32(partitions) {
		if err := client.ProduceSync(w.Context(), &kgo.Record{Topic: w.alerts, Partition: p, Value: end}).FirstErr(); err != nil {
			w.Fatal(err)
		}
	}
	ends := 0
	docRead(w.T, w.brokers, w.alerts, true, func(r *kgo.Record) bool {
		var a docAlert
		if bytes.Equal(r.Value, end) {
			ends++
		} else if err := json.Unmarshal(r.Value, &a); err != nil {
			w.Errorf("alert %s: %v", r.Value, err)
		} else {
			ids = append(ids, a.ID)
		}
		return ends == partitions
	})
	return ids
}

// Another number of shards by a new app beside the old one, as the page has it: while both run, and after the old one has
// ended, no alert is missing, and those that come twice have the same id.
func TestDocShardsWalk(t *testing.T) {
	t.Parallel()
	docEachKafka(t, func(t *testing.T, brokers []string) {
		w := newDocWalk(t, brokers)
		page, err := os.ReadFile("operations.md")
		if err != nil {
			t.Fatal(err)
		}
		_, page, _ = bytes.Cut(page, []byte("\n## Changing the number of shards\n"))
		blocks := docParse("operations.md", string(page)).blocks
		if len(blocks) < 2 || blocks[0].language != "sh" || blocks[1].language != "yaml" || !strings.HasSuffix(blocks[0].text, " run\n") {
			t.Fatalf("operations.md changes shards by %+v; want commands that end with run, and a configuration", blocks[:min(2, len(blocks))])
		}
		const app = "app_id: trailhound-16\n"
		if !strings.Contains(blocks[1].text, app) {
			t.Fatalf("operations.md has the configuration %s; want %s in it", blocks[1].text, app)
		}
		id := strings.TrimSuffix(w.input, "-in") + "-16"
		docDeleteAtEnd(t, brokers, id+".work", id+".state")
		if err := os.WriteFile(filepath.Join(w.dir, "new.yaml"), []byte(strings.Replace(blocks[1].text, app, "app_id: "+id+"\n", 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		wait, _ := w.start(`
go build ./cmd/trailhound
PATH=$PWD:$PATH
until_done() { until [ "$(for a; do curl -fs $a/readyz > ready; curl -fs $a/metrics; done | awk '/^trailhound_(input|work)_lag_records/ { n += $2 } END { print n + 0 }')" = 0 ]; do sleep 1; done; }
sample=cmd/trailhound/sample/cloudtrail.jsonl
trailhound detect $sample > found.jsonl
trailhound topics create --input-partitions 4
trailhound run --set state_dir=./old 2> a.log & OLD=$!
until curl -fs 127.0.0.1:9464/readyz; do sleep 0.2; done
head -n 110 $sample | trailhound ingest --key rule -
OLD_APP=$TRAILHOUND_APP_ID
unset TRAILHOUND_APP_ID
export TRAILHOUND_STATE_DIR=./new TRAILHOUND_HTTP_LISTEN=127.0.0.1:9465
`+strings.TrimSuffix(blocks[0].text, "\n")+` 2> b.log & NEW=$!
until curl -fs 127.0.0.1:9465/readyz; do sleep 0.2; done
tail -n +111 $sample | TRAILHOUND_APP_ID=$OLD_APP trailhound ingest --key rule -
until_done 127.0.0.1:9464 127.0.0.1:9465
kill $OLD $NEW
wait $OLD $NEW
`, func(string) {})
		if err := wait(); err != nil {
			t.Fatalf("the steps: %v", err)
		}
		found, err := os.ReadFile(filepath.Join(w.dir, "found.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]bool{}
		for line := range bytes.Lines(found) {
			var a docAlert
			if err := json.Unmarshal(line, &a); err != nil {
				t.Fatal(err)
			}
			want[a.ID] = true
		}
		seen := map[string]int{}
		for _, id := range w.committed() {
			if seen[id]++; !want[id] || seen[id] > 2 {
				t.Errorf("alert %s comes %d times, and detect has it: %t; want one of detect's, twice at most", id, seen[id], want[id])
			}
		}
		if len(seen) != len(want) || len(want) == 0 {
			t.Errorf("alerts %v; want those of detect: %v", seen, want)
		}
	})
}
