package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Every event of a real file arrives once, under its principal, in the file's order, in the
// partition that Kafka's own partitioner chooses.
func TestIngest(t *testing.T) {
	eachKafka(t, func(t *testing.T, brokers []string) {
		topic := newTopic(t, brokers, "", 5)
		file := filepath.Join(realData, "invictus_aws_dataset.jsonl.gz")
		packed, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(unzip(t, packed))), "\n")
		begun := time.Now().Truncate(time.Millisecond)
		r := command(t.Context(), "", nil, "ingest", "--set", setBrokers(brokers), "--topic", topic, file)
		if want := fmt.Sprintf("files 1, records 2900, events 2900, written to %s: 2900\n", topic); r.code != exitDone || !strings.HasPrefix(r.stderr, want) {
			t.Fatalf("ingest = %d with %q; want 0 with %q", r.code, r.stderr, want)
		}
		place := make(map[string]int, len(lines))
		for i, line := range lines {
			place[line] = i
		}
		partitioner := kgo.StickyKeyPartitioner(nil).ForTopic(topic)
		keys := map[string]bool{}
		for n, records := range consume(t, brokers, topic, len(lines)) {
			last := -1
			for _, rec := range records {
				i, ok := place[string(rec.Value)]
				if !ok || i <= last {
					t.Fatalf("partition %d has line %d (known: %v) behind line %d; want each line once, in order", n, i, ok, last)
				}
				last = i
				delete(place, string(rec.Value))
				keys[string(rec.Key)] = true
				if want := partitioner.Partition(&kgo.Record{Key: rec.Key}, 5); want != int(n) {
					t.Fatalf("key %q is in partition %d; want %d", rec.Key, n, want)
				}
				if rec.Timestamp.Before(begun) || rec.Timestamp.After(time.Now()) {
					t.Fatalf("timestamp %s; want the present time", rec.Timestamp)
				}
			}
		}
		if len(place) > 0 || !keys["arn:aws:iam::123837392027:user/benjamin"] || len(keys) < 10 {
			t.Errorf("%d lines are missing, keys %v; want none missing, and principals for keys", len(place), keys)
		}
	})
}

func TestIngestKeys(t *testing.T) {
	const role = "arn:aws:iam::111122223333:role/admin"
	events := denial(1, "alice") +
		`{"eventVersion":"1.11","userIdentity":{"type":"IAMUser","arn":"bob"},"eventTime":"2026-03-01T10:00:00Z","eventSource":"sts.amazonaws.com","eventName":"AssumeRole","sourceIPAddress":"198.51.100.7","requestParameters":{"roleArn":"` + role + `"}}` + "\n" +
		`{"eventVersion":"1.11","eventTime":"2026-03-01T10:00:00Z","eventSource":"ec2.amazonaws.com","eventName":"Insight","eventType":"AwsCloudTrailInsight"}` + "\n"
	for kind, want := range map[string][]string{
		"principal": {"alice", "bob", "none"},
		"rule":      {"alice", role, "none"},
		"none":      {"none", "none", "none"},
	} {
		t.Run(kind, func(t *testing.T) {
			c := fakeKafka(t, "cloudtrail", 1)
			r := command(t.Context(), events, nil, "ingest", "--key", kind, "--set", setBrokers(c.ListenAddrs()))
			if r.code != exitDone {
				t.Fatalf("ingest --key %s = %d with %q; want 0", kind, r.code, r.stderr)
			}
			var got []string
			for _, rec := range consume(t, c.ListenAddrs(), "cloudtrail", 3)[0] {
				if rec.Key == nil {
					got = append(got, "none")
				} else {
					got = append(got, string(rec.Key))
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("ingest --key %s gives the keys %q; want %q", kind, got, want)
			}
		})
	}
}

// An envelope becomes one record per event; bad records and events are reported and
// skipped.
func TestIngestSplitsEnvelopes(t *testing.T) {
	c := fakeKafka(t, "cloudtrail", 1)
	one, two := strings.TrimSpace(denial(1, "alice")), strings.TrimSpace(denial(2, "alice"))
	in := `{"Records":[` + one + `,{"eventVersion":"1.11"},` + two + "]}\njunk\n" + `{"messageType":"CONTROL_MESSAGE"}`
	r := command(t.Context(), in, nil, "ingest", "--set", setBrokers(c.ListenAddrs()), "-")
	want := "-:1:no_event_time: event 0: the event has no eventTime\n" +
		"-:3:not_json: no JSON value begins with 'j', at byte 0\n" +
		"files 1, records 5, events 2, written to cloudtrail: 2\n" +
		"left out: no_event_time 1, not_json 1\nskipped: control_message 1\ntook TIME\n"
	if got := changing.ReplaceAllString(r.stderr, "took TIME"); r.code != exitDone || got != want {
		t.Errorf("ingest = %d with %q; want 0 with %q", r.code, got, want)
	}
	r = command(t.Context(), "junk", nil, "ingest", "--strict", "--set", setBrokers(c.ListenAddrs()), "-")
	if want := "trailhound: not everything could be written: left out 1\n"; r.code != exitFailed || !strings.HasSuffix(r.stderr, want) {
		t.Errorf("ingest --strict = %d with %q; want 1 with %q", r.code, r.stderr, want)
	}
	r = command(t.Context(), "junk", nil, "ingest", "--json", "--set", setBrokers(c.ListenAddrs()), "-")
	if want := `{"topic":"cloudtrail","files":1,"records":1,"events":0,"written":0,"left_out":{"not_json":1},"skipped":{}}` + "\n"; r.code != exitDone || r.stdout != want {
		t.Errorf("ingest --json = %d with %q; want 0 with %q", r.code, r.stdout, want)
	}
	records := consume(t, c.ListenAddrs(), "cloudtrail", 2)[0]
	if got := []string{string(records[0].Value), string(records[1].Value)}; !slices.Equal(got, []string{one, two}) {
		t.Errorf("ingest writes %q; want the two events as they came", got)
	}
}

// An event that the topic cannot take is reported; those around it are written.
func TestIngestTooLarge(t *testing.T) {
	c := fakeKafka(t, "cloudtrail", 1)
	setMaxMessage(t, c.ListenAddrs(), "cloudtrail", "2000")
	in := denial(1, "alice") + denial(2, strings.Repeat("x", 3000)) + denial(3, "alice")
	r := command(t.Context(), in, nil, "ingest", "--set", setBrokers(c.ListenAddrs()))
	if want := "-:1:too_large_for_topic: event 0: the event makes a record of "; r.code != exitDone || !strings.HasPrefix(r.stderr, want) {
		t.Errorf("ingest = %d with %q; want 0 with %q", r.code, r.stderr, want)
	}
	if got := len(consume(t, c.ListenAddrs(), "cloudtrail", 2)[0]); got != 2 {
		t.Errorf("ingest writes %d records; want the other 2", got)
	}
}

// Produce requests that fail for a while delay, and neither lose nor reorder anything.
func TestIngestRetries(t *testing.T) {
	c := fakeKafka(t, "cloudtrail", 3)
	var requests atomic.Int32
	c.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		n := requests.Add(1)
		if n > 4 {
			return nil, nil, false
		}
		c.KeepControl()
		if n%2 == 0 {
			return nil, errors.New("the connection breaks"), true
		}
		produce := req.(*kmsg.ProduceRequest)
		resp := produce.ResponseKind().(*kmsg.ProduceResponse)
		for _, topic := range produce.Topics {
			refused := kmsg.NewProduceResponseTopic()
			refused.Topic, refused.TopicID = topic.Topic, topic.TopicID
			for _, p := range topic.Partitions {
				partition := kmsg.NewProduceResponseTopicPartition()
				partition.Partition, partition.ErrorCode = p.Partition, kerr.NotEnoughReplicas.Code
				refused.Partitions = append(refused.Partitions, partition)
			}
			resp.Topics = append(resp.Topics, refused)
		}
		return resp, nil, true
	})
	var in strings.Builder
	const events = 3000
	for n := range events {
		in.WriteString(denial(n, fmt.Sprintf("user-%d", n%50)))
	}
	r := command(t.Context(), in.String(), nil, "ingest", "--set", setBrokers(c.ListenAddrs()))
	if r.code != exitDone || !strings.Contains(r.stderr, fmt.Sprintf("written to cloudtrail: %d\n", events)) {
		t.Fatalf("ingest = %d with %q; want 0 and %d written", r.code, r.stderr, events)
	}
	next := map[string]int{}
	for _, records := range consume(t, c.ListenAddrs(), "cloudtrail", events) {
		for _, rec := range records {
			user := string(rec.Key)
			var first int
			if _, err := fmt.Sscanf(user, "user-%d", &first); err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprintf(`"eventID":"id-%d"`, first+50*next[user])
			if next[user]++; !strings.Contains(string(rec.Value), want) {
				t.Fatalf("event %d of %s is %s; want the one with %s", next[user], user, rec.Value, want)
			}
		}
	}
	if len(next) != 50 {
		t.Errorf("%d keys; want 50", len(next))
	}
	if n := requests.Load(); n <= 4 {
		t.Errorf("%d produce requests; want more than the 4 that were refused", n)
	}
}

// Records without a key spread over the partitions.
func TestIngestWithoutKeys(t *testing.T) {
	c := fakeKafka(t, "cloudtrail", 4)
	padding := strings.Repeat("x", 2000)
	var in strings.Builder
	const events = 2000 // 4 MB: several batches
	for n := range events {
		in.WriteString(denial(n, padding))
	}
	r := command(t.Context(), in.String(), nil, "ingest", "--key", "none", "--set", setBrokers(c.ListenAddrs()))
	if r.code != exitDone {
		t.Fatalf("ingest = %d with %q; want 0", r.code, r.stderr)
	}
	found := consume(t, c.ListenAddrs(), "cloudtrail", events)
	if len(found) != 4 {
		t.Errorf("ingest --key none writes to the partitions %v; want all 4", slices.Sorted(maps.Keys(found)))
	}
}

// An event is written while more input is waited for, and an interrupt ends the wait.
func TestIngestFlowsAndEnds(t *testing.T) {
	c := fakeKafka(t, "cloudtrail", 1)
	in, feed := io.Pipe()
	defer feed.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stderr bytes.Buffer
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"ingest", "--set", setBrokers(c.ListenAddrs())}, in, io.Discard, &stderr, nil)
	}()
	if _, err := io.WriteString(feed, denial(1, "alice")); err != nil {
		t.Fatal(err)
	}
	consume(t, c.ListenAddrs(), "cloudtrail", 1)
	cancel()
	if code := <-ended; code != exitFailed || !strings.HasSuffix(stderr.String(), "trailhound: interrupted\n") {
		t.Errorf("run = %d with %q after an interrupt; want 1, interrupted", code, stderr.String())
	}
}

func TestIngestRefused(t *testing.T) {
	c := fakeKafka(t, "cloudtrail", 1)
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"no topic": {[]string{"--topic", "absent", "--set", setBrokers(c.ListenAddrs())},
			"trailhound: topic absent does not exist at " + strings.Join(c.ListenAddrs(), ", ") + "; create it with kafka-topics.sh, or name another one\n"},
		"no broker": {[]string{"--set", "kafka.brokers=" + closedPort},
			"trailhound: no broker of kafka.brokers (" + closedPort + ") answers: "},
	} {
		t.Run(name, func(t *testing.T) {
			r := command(t.Context(), denial(1, "alice"), nil, append([]string{"ingest"}, tt.args...)...)
			if r.code != exitFailed || !strings.HasPrefix(r.stderr, tt.want) || strings.Count(r.stderr, "\n") != 1 {
				t.Errorf("ingest %q = %d with %q; want 1 with one line, %q", tt.args, r.code, r.stderr, tt.want)
			}
		})
	}
}

// Encryption and every way to authenticate, against a broker that asks for both.
func TestKafkaSecurity(t *testing.T) {
	certificate, caFile := selfSigned(t)
	passwordFile := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(passwordFile, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, mechanism := range []string{"plain", "scram-sha-256", "scram-sha-512"} {
		t.Run(mechanism, func(t *testing.T) {
			c := fakeKafka(t, "cloudtrail", 1,
				kfake.TLS(&tls.Config{Certificates: []tls.Certificate{certificate}}),
				kfake.EnableSASL(), kfake.Superuser(strings.ToUpper(mechanism), "hunter", "secret"))
			ingest := func(password string) result {
				args := []string{"ingest"}
				for _, set := range []string{
					setBrokers(c.ListenAddrs()), "kafka.tls.enabled=true", "kafka.tls.ca_file=" + caFile,
					"kafka.sasl.mechanism=" + mechanism, "kafka.sasl.username=hunter", password, "kafka.request_timeout=5s",
				} {
					args = append(args, "--set", set)
				}
				return command(t.Context(), denial(1, "alice"), nil, args...)
			}
			for _, password := range []string{"kafka.sasl.password=secret", "kafka.sasl.password_file=" + passwordFile} {
				if r := ingest(password); r.code != exitDone {
					t.Errorf("ingest with %s = %d with %q; want 0", password, r.code, r.stderr)
				}
			}
			if r := ingest("kafka.sasl.password=wrong"); r.code != exitFailed || strings.Contains(r.stderr, "wrong") {
				t.Errorf("ingest with a wrong password = %d with %q; want 1, and no password", r.code, r.stderr)
			}
		})
	}
}
