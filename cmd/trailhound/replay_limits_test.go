package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A range can have offsets and still no record, when a transaction was aborted: the replay
// fails, and writes no file.
func TestReplayOfAborted(t *testing.T) {
	eachKafka(t, func(t *testing.T, brokers []string) {
		s := newSite(t, brokers, 1)
		client := kafkaClient(t, brokers, kgo.TransactionalID(uniqueName()))
		if err := client.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		rec := &kgo.Record{Topic: s.app.Inputs[0], Value: []byte(denial(1, "alice"))}
		if err := client.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := client.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
			t.Fatal(err)
		}
		s.send(0, denial(2, "alice"))
		file := filepath.Join(s.dir, "alerts.jsonl")
		s.wantRefused(exitFailed, []string{"the range is empty", "aborted"}, "", "replay", "--partition", "0", "--offsets", "0..2", "--out", file)
		if _, err := os.Stat(file); !os.IsNotExist(err) {
			t.Errorf("the file of a replay without a record: %v; want that there is none", err)
		}
	})
}

// A replay of an empty range names the timestamps that the topics hold; one of a missing
// topic names its key and the remedy.
func TestReplayRefuses(t *testing.T) {
	s := newSite(t, fakeCluster(t).ListenAddrs(), 2)
	s.wantRefused(exitFailed, []string{"its partitions hold no record at all"}, "", "replay")
	s.sendAt(1, recordTime, denialsOf(0, 301, "alice")...)
	s.wantRefused(exitFailed, []string{"have timestamps from " + minute(0) + " to " + minute(5)}, "", "replay", "--to", "2020-01-01")
	s.wantRefused(exitFailed, []string{"its partitions hold no record at all"}, "", "replay", "--partition", "0")
	s.sendAt(0, time.UnixMilli(-1), denial(302, "alice"))
	s.wantRefused(exitFailed, []string{"have no timestamps, and --from and --to go by them"}, "", "replay", "--partition", "0", "--from", "2020-01-01")
	s.wantRefused(exitFailed, []string{"have timestamps from " + minute(0) + " to " + minute(5)}, "", "replay", "--from", "-1s")
	s.wantRefused(exitFailed, []string{"topics.input: topic no-such does not exist", "--set topics.input=NAME"}, "", "--set", "topics.input=no-such", "replay")
	s.wantRefused(exitFailed, []string{"topics.alerts: topic no-such does not exist", "--diff FILE"}, "", "--set", "topics.alerts=no-such", "replay", "--diff")
	s.wantRefused(exitUsage, []string{"nothing before the beginning"}, "", "replay", "--warm", "1h", "--partition", "1", "--offsets", "..10")
	// A topic that is named twice is read once.
	if r := s.must("", "replay", "--input", s.app.Inputs[0], "--input", s.app.Inputs[0]); !strings.Contains(r.stderr, "records 302,") {
		t.Errorf("replay of a topic named twice says %q; want its 302 records", r.stderr)
	}
}

// An existing file keeps its mode, and a link still leads to its file: /dev/stdout is a
// link, and must not be replaced.
func TestReplayOutKeepsFiles(t *testing.T) {
	s := newSite(t, fakeCluster(t).ListenAddrs(), 1, eachDenial)
	s.send(0, denial(1, "alice"))
	file, link := filepath.Join(s.dir, "alerts.jsonl"), filepath.Join(t.TempDir(), "link")
	if err := os.WriteFile(file, []byte("before\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Skipf("this machine makes no symbolic link, so none can be seen to stay: %v", err)
	}
	s.must("", "--set", eachDenial, "replay", "--out", link)
	if to, err := os.Readlink(link); err != nil || to != file {
		t.Errorf("the link leads to %q, %v; want, as before, %q", to, err, file)
	}
	text, err := os.ReadFile(file)
	if info, err2 := os.Stat(file); err != nil || err2 != nil || len(lines(string(text))) != 1 || info.Mode().Perm() != 0o640 {
		t.Errorf("the file holds %q, %v, with mode %v, %v; want one alert and the mode that it had", text, err, info.Mode(), err2)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	s.wantRefused(exitUsage, []string{"it is not a file"}, "", "replay", "--out", link)
}

// Alerts shed content to fit the limit of their topic, as those of the service do. A
// replay into a topic with a limit below limits.max_alert_bytes ended at the first large
// alert.
func TestReplayAlertTooLarge(t *testing.T) {
	s := newSite(t, fakeCluster(t).ListenAddrs(), 1, eachDenial)
	s.send(0, strings.Replace(denial(1, "alice"), "{", `{"additionalEventData":"`+strings.Repeat("x", 10_000)+`",`, 1))
	tight, none := newTopic(t, s.brokers, "", 1, "max.message.bytes", "8000"), newTopic(t, s.brokers, "", 1, "max.message.bytes", "500")
	s.must("", "--set", eachDenial, "replay", "--topic", tight)
	alerts := committed(t, s.brokers, tight)
	if len(alerts) != 1 || !strings.Contains(string(alerts[0].Value), `"event_omitted":"too_large"`) || strings.Contains(string(alerts[0].Value), "xxx") {
		t.Errorf("replay --topic wrote %v; want the alert without its event", alerts)
	}
	s.wantRefused(exitFailed, []string{"alert_too_large", "left out 1"}, "", "--set", eachDenial, "replay", "--strict", "--topic", none)
}

// closedPipe is a stdout after its reader has closed the pipe.
type closedPipe struct{}

func (closedPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// The exit code is an answer of its own: it also counts for a reader of only the head of
// the table.
func TestReplayDiffExitStatus(t *testing.T) {
	t.Parallel()
	s := diffSite(t, fakeCluster(t).ListenAddrs())
	for want, threshold := range map[int]int{exitDone: 10, exitDifferent: 5} {
		set := fmt.Sprintf("rules.access_denied.threshold=%d", threshold)
		args := []string{"--config", s.config, "--set", set, "replay", "--diff"}
		if code := execute(t.Context(), args, strings.NewReader(""), closedPipe{}, io.Discard, nil); code != want {
			t.Errorf("replay --diff with threshold %d for a reader that has gone = %d; want %d", threshold, code, want)
		}
	}
}

// The records that the service has yet to evaluate matter only if they are of the range,
// and a service that does not exist is reported.
func TestReplayDiffBehind(t *testing.T) {
	t.Parallel()
	s := diffSite(t, fakeCluster(t).ListenAddrs())
	s.send(0, denialsOf(27, 3, "bob")...)
	if r := s.must("", "replay", "--diff", "--partition", "0", "--offsets", "0..27"); strings.Contains(r.stderr, "still to read") {
		t.Errorf("replay --diff of what the service has evaluated says %q; want nothing of what follows", r.stderr)
	}
	if r := s.command("", "replay", "--diff", "--partition", "0", "--offsets", "0..28"); !strings.Contains(r.stderr, "has 1 record still to read") {
		t.Errorf("replay --diff of one record more says %q; want that this one is still to be read", r.stderr)
	}
	if r := s.command("", "--set", "app_id=no-such", "replay", "--diff"); !strings.Contains(r.stderr, "whether no-such has evaluated all of the range is not known") {
		t.Errorf("replay --diff for an app that is not there says %q; want that nothing is known of it", r.stderr)
	}
}
