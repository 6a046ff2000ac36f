package deploy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// docConsumer is one of the example consumers.
type docConsumer struct {
	name    string
	missing string // why it cannot run here; empty: it can
	command []string
	session string                                   // of 6 s, the shortest that brokers take, as its setting has it
	state   string                                   // the variable that names its file
	ids     func(t *testing.T, file string) []string // of the alerts that it has acted on, in order
}

// docConsumers returns the example consumers, built.
func docConsumers(t *testing.T) []docConsumer {
	t.Helper()
	inGo := docConsumer{name: "go", command: []string{docBuild(t, docExample)}, session: "6s", state: "ALERTS_FILE", ids: docLines}
	python := os.Getenv("TRAILHOUND_TEST_PYTHON")
	if python == "" {
		python = "python3"
	}
	inPython := docConsumer{name: "python", command: []string{python, "examples/python/consume_alerts.py"}, session: "6", state: "ALERTS_DB",
		ids: func(t *testing.T, file string) []string { return docRows(t, python, file) }}
	if out, err := exec.Command(python, "-c", "import confluent_kafka").CombinedOutput(); err != nil {
		inPython.missing = fmt.Sprintf("%s has no confluent_kafka; pip install -r deploy/examples/python/requirements.txt, and name the interpreter in "+
			"TRAILHOUND_TEST_PYTHON: %v: %s", python, err, out)
	}
	return []docConsumer{inGo, inPython}
}

// docLines returns the ids in the file of the consumer in Go.
func docLines(t *testing.T, file string) (ids []string) {
	text, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		var a docAlert
		if line[len(line)-1] == '\n' {
			if err := json.Unmarshal(line, &a); err != nil {
				t.Fatalf("%q in the file of the consumer: %v", line, err)
			}
			ids = append(ids, a.ID)
		}
	}
	return ids
}

// docRows returns the ids in the database of the consumer in Python.
func docRows(t *testing.T, python, file string) []string {
	if _, err := os.Stat(file); err != nil {
		return nil
	}
	const look = `import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=30)
if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'inbox'").fetchone():
    for row in db.execute("SELECT id FROM inbox"): print(row[0])`
	out, err := exec.Command(python, "-c", look, file).Output()
	if err != nil {
		t.Fatalf("look into %s: %v", file, err)
	}
	return strings.Fields(string(out))
}

// docShop is a topic of alerts, and the ids that a consumer must act on.
type docShop struct {
	*testing.T
	brokers  []string
	topic    string
	pattern  string          // a real alert, with places for id and event_id
	expected map[string]bool // ids to act on
	aborted  []string        // ids that must stay unseen

	options     []kgo.Opt // how to reach the brokers
	environment []string  // the same for the consumers
}

const docShopPartitions = 3

func newDocShop(t *testing.T, brokers []string, options ...kgo.Opt) *docShop {
	t.Helper()
	stdout, stderr, err := docRun(t, docBuild(t, docProgram), nil, "detect", "--set", "rules.access_denied.threshold=1", docEnvelopes+"/event.json")
	var a docAlert
	if err != nil || json.Unmarshal([]byte(stdout), &a) != nil {
		t.Fatalf("detect: %v, %q, %s; want an alert", err, stdout, stderr)
	}
	s := &docShop{T: t, brokers: brokers, topic: docName(), expected: map[string]bool{}, options: options,
		pattern: strings.ReplaceAll(strings.TrimSpace(stdout), a.ID, "ID")}
	docTopic(t, brokers, s.topic, docShopPartitions, options...)
	return s
}

// alert returns an alert's record.
func (s *docShop) alert(id string, partition int) *kgo.Record {
	header := func(name, value string) kgo.RecordHeader { return kgo.RecordHeader{Key: name, Value: []byte(value)} }
	return &kgo.Record{Topic: s.topic, Partition: int32(partition), Key: []byte("access_denied:somebody"), Value: []byte(strings.ReplaceAll(s.pattern, "ID", id)),
		Headers: []kgo.RecordHeader{header("alert_id", id), header("rule_id", "access_denied"), header("severity", "medium"), header("schema", "trailhound.alert.v1")}}
}

// transaction writes records in one transaction, and ends it.
func (s *docShop) transaction(end kgo.TransactionEndTry, records ...*kgo.Record) {
	s.Helper()
	client := docClient(s.T, s.brokers, append(slices.Clone(s.options), kgo.TransactionalID(docName()), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	ctx, cancel := context.WithTimeout(s.Context(), docPatience)
	defer cancel()
	err := client.BeginTransaction()
	if err == nil {
		err = client.ProduceSync(ctx, records...).FirstErr()
	}
	if err == nil {
		err = client.EndTransaction(ctx, end)
	}
	if err != nil {
		s.Fatal(err)
	}
}

// send writes n new alerts in a transaction that is committed, and returns their ids.
func (s *docShop) send(n int) (ids []string) {
	s.Helper()
	var records []*kgo.Record
	for i := range n {
		id := uuid.NewString()
		ids, s.expected[id] = append(ids, id), true
		records = append(records, s.alert(id, i%docShopPartitions))
	}
	s.transaction(kgo.TryCommit, records...)
	return ids
}

// stock fills the topic: alerts, aborted ones, ids that come again, and values that are
// hard to read.
func (s *docShop) stock() {
	s.Helper()
	first := s.send(20)
	var gone []*kgo.Record
	for i := range 5 {
		id := uuid.NewString()
		s.aborted = append(s.aborted, id)
		gone = append(gone, s.alert(id, i%docShopPartitions))
	}
	s.transaction(kgo.TryAbort, gone...)
	var again []*kgo.Record
	for i, id := range first[:7] {
		again = append(again, s.alert(id, (i+1)%docShopPartitions))
	}
	junk := &kgo.Record{Topic: s.topic, Partition: 0, Value: []byte("no alert")}
	deep := s.alert(uuid.NewString(), 1)
	deep.Value = bytes.Replace(deep.Value, []byte(`"requestParameters":`), []byte(`"requestParameters":`+strings.Repeat(`{"a":`, 12_000)+"1"+strings.Repeat("}", 12_000)+`,"b":`), 1)
	s.expected[string(deep.Headers[0].Value)] = true
	s.transaction(kgo.TryCommit, append(again, junk, deep)...)
	s.send(3) // one behind it in each partition

	// The aborted ones are in the topic, as a reader of uncommitted records sees.
	left := slices.Clone(s.aborted)
	docRead(s.T, s.brokers, s.topic, false, func(r *kgo.Record) bool {
		left = slices.DeleteFunc(left, func(id string) bool { return bytes.Contains(r.Value, []byte(id)) })
		return len(left) == 0
	})
}

// docRunning is a consumer under way.
type docRunning struct {
	*exec.Cmd
	stderr bytes.Buffer
	ended  chan error
}

func (s *docShop) start(c docConsumer, group, file string) *docRunning {
	s.Helper()
	r := &docRunning{Cmd: exec.Command(c.command[0], c.command[1:]...), ended: make(chan error, 1)}
	r.Env = append(append(docEnvironment(), s.environment...), "ALERTS_BROKERS="+strings.Join(s.brokers, ","), "ALERTS_TOPIC="+s.topic, "ALERTS_GROUP="+group, c.state+"="+file, "ALERTS_SESSION="+c.session, "PYTHONDONTWRITEBYTECODE=1")
	r.Stderr = &r.stderr
	if err := r.Start(); err != nil {
		s.Fatal(err)
	}
	go func() { r.ended <- r.Wait() }()
	s.Cleanup(func() {
		_ = r.Process.Kill() // if it has not ended
		if s.Failed() {
			s.Logf("%s wrote: %s", c.name, r.stderr.String())
		}
	})
	return r
}

// stop ends the consumer by a signal, and returns its exit.
func (r *docRunning) stop(t *testing.T, by os.Signal) error {
	t.Helper()
	if err := r.Process.Signal(by); err != nil {
		t.Fatalf("%v; it wrote %s", err, r.stderr.String())
	}
	select {
	case err := <-r.ended:
		return err
	case <-time.After(docPatience):
		t.Fatalf("the consumer has not ended after %s", docPatience)
		return nil
	}
}

// check compares the ids that were acted on with the expected ones.
func (s *docShop) check(ids []string) {
	s.Helper()
	seen := map[string]int{}
	for _, id := range ids {
		if seen[id]++; seen[id] > 1 {
			s.Errorf("alert %s was acted on %d times; want once", id, seen[id])
		}
		if !s.expected[id] {
			s.Errorf("alert %s was acted on (aborted: %t); want it unseen", id, slices.Contains(s.aborted, id))
		}
	}
	for id := range s.expected {
		if seen[id] == 0 {
			s.Errorf("alert %s was not acted on; want it once", id)
		}
	}
}

// TestDocConsumers: the example consumers act on each committed alert once: aborted ones are not
// seen, ids that come again are known, and a value that cannot be read stops nothing.
func TestDocConsumers(t *testing.T) {
	t.Parallel()
	docEachKafka(t, func(t *testing.T, brokers []string) {
		for _, c := range docConsumers(t) {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				if c.missing != "" {
					t.Skip(c.missing)
				}
				s := newDocShop(t, brokers)
				s.stock()
				file, group := filepath.Join(t.TempDir(), "state"), docName()
				for n := 5; n < len(s.expected); n += 9 { // kill -9 again and again
					r := s.start(c, group, file)
					docAwait(t, fmt.Sprintf("%s to act on %d alerts", c.name, n), func() bool { return len(c.ids(t, file)) >= n })
					_ = r.stop(t, syscall.SIGKILL)
					s.send(4)
				}
				r := s.start(c, group, file)
				docAwait(t, c.name+" to act on all alerts", func() bool { return len(c.ids(t, file)) >= len(s.expected) })
				if err := r.stop(t, syscall.SIGTERM); err != nil {
					t.Errorf("%s ends with %v after SIGTERM: %s; want 0", c.name, err, r.stderr.String())
				}
				s.check(c.ids(t, file))
			})
		}
	})
}

// Killed between acting and committing, a consumer gets the alerts again, and does not act again.
func TestDocConsumersKilledBeforeCommit(t *testing.T) {
	t.Parallel()
	for _, c := range docConsumers(t) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.missing != "" {
				t.Skip(c.missing)
			}
			cluster := docFakeKafka(t)
			s := newDocShop(t, cluster.ListenAddrs())
			s.stock()
			file, group := filepath.Join(t.TempDir(), "state"), docName()
			held, release, commits := holdCommits(cluster)
			r := s.start(c, group, file)
			select {
			case <-held:
			case err := <-r.ended:
				t.Fatalf("%s ended with %v before it committed: %s", c.name, err, r.stderr.String())
			case <-time.After(docPatience):
				t.Fatalf("%s has not committed after %s", c.name, docPatience)
			}
			acted := len(c.ids(t, file))
			if acted == 0 {
				t.Errorf("%s commits before it acts", c.name)
			}
			_ = r.stop(t, syscall.SIGKILL)
			release()
			if n := commits(); n != 0 {
				t.Fatalf("%d commits were let through; want none", n)
			}
			s.send(3) // behind everything, one in each partition
			r = s.start(c, group, file)
			docAwait(t, c.name+" to act on all alerts", func() bool { return len(c.ids(t, file)) >= len(s.expected) })
			if err := r.stop(t, syscall.SIGTERM); err != nil {
				t.Errorf("%s ends with %v after SIGTERM: %s; want 0", c.name, err, r.stderr.String())
			}
			s.check(c.ids(t, file))
			if commits() == 0 {
				t.Errorf("%s has never committed", c.name)
			}
		})
	}
}

// holdCommits refuses the commits of offsets until release is called; held is closed by the first. commits counts those
// that were let through.
func holdCommits(cluster *kfake.Cluster) (held chan struct{}, release func(), commits func() int) {
	held = make(chan struct{})
	var mu sync.Mutex
	free, n := false, 0
	first := sync.OnceFunc(func() { close(held) })
	cluster.ControlKey(int16(kmsg.OffsetCommit), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		if free {
			n++
			return nil, nil, false
		}
		first()
		return nil, fmt.Errorf("the test takes no commit yet"), true
	})
	release = func() { mu.Lock(); free = true; mu.Unlock() }
	commits = func() int { mu.Lock(); defer mu.Unlock(); return n }
	return held, release, commits
}

// The page warns of kafka-go: its Reader hands out aborted records though it was told to read committed. When this
// fails, the warning has become wrong.
func TestDocWarnsOfKafkaGo(t *testing.T) {
	t.Parallel()
	docEachKafka(t, func(t *testing.T, brokers []string) {
		s := newDocShop(t, brokers)
		s.stock()
		reader := kafka.NewReader(kafka.ReaderConfig{Brokers: brokers, Topic: s.topic, Partition: 0, IsolationLevel: kafka.ReadCommitted, MaxWait: 500 * time.Millisecond})
		defer reader.Close()
		ctx, cancel := context.WithTimeout(t.Context(), docPatience)
		defer cancel()
		for {
			m, err := reader.ReadMessage(ctx)
			if err != nil {
				t.Fatalf("kafka-go's Reader has shown no aborted record: %v", err)
			}
			if slices.ContainsFunc(s.aborted, func(id string) bool { return bytes.Contains(m.Value, []byte(id)) }) {
				return
			}
		}
	})
}
