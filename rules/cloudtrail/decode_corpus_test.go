package cloudtrail

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// content returns a file of testdata, unpacked.
func content(tb testing.TB, path string) []byte {
	tb.Helper()
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			tb.Fatalf("open %s: %v", path, err)
		}
	}
	b, err := io.ReadAll(r)
	if err != nil {
		tb.Fatalf("read %s: %v", path, err)
	}
	return b
}

// lines returns the lines of a file of testdata.
func lines(tb testing.TB, path string) [][]byte {
	tb.Helper()
	return bytes.Split(bytes.TrimSpace(content(tb, path)), []byte("\n"))
}

// TestDecodeCorpus reads real CloudTrail, and holds the outcomes against the reference.
func TestDecodeCorpus(t *testing.T) {
	for _, c := range []struct {
		file                    string
		events, denied, assumed int
		errors                  map[Reason]int
	}{
		{file: "invictus_aws_dataset.jsonl.gz", events: 2900, denied: 16, assumed: 36},
		{file: "stratus_red_team_detonation.jsonl.gz", events: 310, denied: 5, assumed: 8},
		{file: "otrf_ec2_proxy_s3_exfiltration.jsonl.gz", events: 103, assumed: 5},
		{file: "panther_analysis_cloudtrail_testcases.jsonl.gz", events: 445, denied: 32, assumed: 6,
			errors: map[Reason]int{ReasonBadEventTime: 2, ReasonNoEventTime: 13, ReasonUnknownShape: 4}},
		// Its authors have put "..." in place of the source of most EventBridge events.
		{file: "streamalert_envelopes.jsonl.gz", events: 39,
			errors: map[Reason]int{ReasonBadEventTime: 5, ReasonForeignSource: 13, ReasonNotJSON: 3, ReasonUnknownShape: 4}},
		{file: "218007301253_CloudTrail_us-east-1_20230710T1205Z_1dM7GQM67kudSyGD.json", events: 13},
		{file: "218007301253_CloudTrail_us-east-1_20230710T1205Z_86g9Vok9HiUCgSI7.json", events: 19},
		{file: "218007301253_CloudTrail_us-east-1_20230710T1205Z_SjF3IkuNXJkoHyar.json", events: 26, assumed: 1},
		{file: "218007301253_CloudTrail_us-east-1_20230710T1205Z_UljXNp9xLp8nsAGc.json", events: 55, denied: 1},
	} {
		t.Run(c.file, func(t *testing.T) {
			var events, denied, assumed int
			errors := make(map[Reason]int)
			for _, record := range corpus(t, c.file) {
				var d Decoder
				if got, want := outcomes(&d, record), referenceOutcomes(record); !slices.Equal(got, want) {
					t.Errorf("Decode(%.200q)\n     = %v\nwant %v", record, got, want)
				}
				d.Decode(record, func(e *Event, err error) bool {
					if err != nil {
						errors[err.(*DecodeError).Reason]++
						return true
					}
					events++
					if e.ErrorCode == "AccessDenied" {
						denied++
					}
					if e.Name == "AssumeRole" && e.RequestParameter("roleArn") != "" {
						assumed++
					}
					return true
				})
			}
			if events != c.events || denied != c.denied || assumed != c.assumed || !maps.Equal(errors, c.errors) {
				t.Errorf("%s: %d events, %d denied, %d roles assumed, errors %v; want %d, %d, %d, %v",
					c.file, events, denied, assumed, errors, c.events, c.denied, c.assumed, c.errors)
			}
		})
	}
}

// corpus returns the records in a file of real CloudTrail.
func corpus(t *testing.T, file string) [][]byte {
	path := "testdata/real/" + file
	member := map[string]string{
		"panther_analysis_cloudtrail_testcases.jsonl.gz": "event",
		"streamalert_envelopes.jsonl.gz":                 "payload",
	}[file]
	switch {
	case !strings.HasSuffix(file, ".gz"):
		return [][]byte{content(t, path)}
	case member == "":
		return lines(t, path)
	}
	var records [][]byte
	for _, line := range lines(t, path) {
		var m map[string]json.RawMessage
		must(json.Unmarshal(line, &m))
		records = append(records, m[member])
	}
	return records
}
