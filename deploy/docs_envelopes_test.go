package deploy_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

const docEnvelopes = "examples/envelopes"

// docForm is one form in which the event of the examples can arrive.
type docForm struct {
	name  string
	value []byte
}

// docForms returns each example in all forms that the pages allow: plain, gzipped, and
// gzipped as base64.
func docForms(t *testing.T) []docForm {
	t.Helper()
	names, err := filepath.Glob(docEnvelopes + "/*.json*")
	if err != nil || len(names) < 10 {
		t.Fatalf("%d examples of envelopes: %v; want all of them", len(names), err)
	}
	var forms []docForm
	for _, name := range names {
		value, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		if _, err := z.Write(value); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		name = filepath.Base(name)
		forms = append(forms, docForm{name, value}, docForm{name + " gzipped", packed.Bytes()},
			docForm{name + " gzipped as base64", []byte(base64.StdEncoding.EncodeToString(packed.Bytes()))})
	}
	return forms
}

// Every envelope gives the same alert: from a file, and as one record of a topic.
func TestDocEnvelopes(t *testing.T) {
	t.Parallel()
	binary := docBuild(t, docProgram)
	forms := docForms(t)
	brokers := docFakeKafka(t).ListenAddrs()
	topic := docName()
	docTopic(t, brokers, topic, len(forms))
	client := docClient(t, brokers, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for i, f := range forms {
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Partition: int32(i), Value: f.value}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	id := ""
	check := func(name, stdout, stderr string, err error) {
		t.Helper()
		var a docAlert
		if err != nil || strings.Count(stdout, "\n") != 1 || json.Unmarshal([]byte(stdout), &a) != nil || a.ID == "" {
			t.Errorf("%s: %v, alerts %q, and on stderr %s; want one alert", name, err, stdout, stderr)
			return
		}
		if id == "" {
			id = a.ID
		}
		if a.ID != id {
			t.Errorf("%s: alert %s; want %s as of every other envelope", name, a.ID, id)
		}
	}
	for i, f := range forms {
		file := filepath.Join(t.TempDir(), "envelope")
		if err := os.WriteFile(file, f.value, 0o600); err != nil {
			t.Fatal(err)
		}
		stdout, stderr, err := docRun(t, binary, nil, "detect", "--strict", "--set", "rules.access_denied.threshold=1", file)
		check("detect "+f.name, stdout, stderr, err)
		stdout, stderr, err = docRun(t, binary, nil, "replay", "--strict", "--partition", fmt.Sprint(i), "--set", "rules.access_denied.threshold=1",
			"--set", "topics.input="+topic, "--set", "kafka.brokers="+strings.Join(brokers, ","))
		check("replay "+f.name, stdout, stderr, err)
	}
}

// TestDocRefusedEnvelopes: envelopes that are not unwrapped, by the page, are refused for
// the reason on the page.
func TestDocRefusedEnvelopes(t *testing.T) {
	t.Parallel()
	binary := docBuild(t, docProgram)
	reasons := map[string]string{
		"s3-notification.json":        "skipped: s3_notification 1",
		"kinesis-lambda.json":         "left out: no_event_time 1",
		"cloudwatch-logs-lambda.json": "left out: unknown_shape 1",
		"firehose-http.json":          "left out: unknown_shape 1",
		"shipper-message.json":        "left out: unknown_shape 1",
		"connect-schema.json":         "left out: unknown_shape 1",
	}
	names, err := filepath.Glob(docEnvelopes + "/refused/*")
	if err != nil || len(names) != len(reasons) {
		t.Fatalf("%d examples of what is refused: %v; want %d", len(names), err, len(reasons))
	}
	for _, name := range names {
		stdout, stderr, err := docRun(t, binary, nil, "detect", "--set", "rules.access_denied.threshold=1", name)
		if want := reasons[filepath.Base(name)]; err != nil || stdout != "" || want == "" || !strings.Contains(stderr, want) {
			t.Errorf("detect %s: %v, %q, and on stderr %s; want %q", name, err, stdout, stderr, want)
		}
	}
}

// TestDocEnvelopesAreTold: the page has a link to every example.
func TestDocEnvelopesAreTold(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("cloudtrail-to-kafka.md")
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(docEnvelopes, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.Contains(string(page), "]("+filepath.ToSlash(path)+")") {
			t.Errorf("cloudtrail-to-kafka.md has no link to %s", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
