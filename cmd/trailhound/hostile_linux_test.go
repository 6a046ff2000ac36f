package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"
)

// hostile lists texts of attackers for any text that they may choose: each forges a line,
// acts on a terminal, hides or reorders the text behind it, or has a meaning for a later
// reader. The word "owned" shows where a text appears.
var hostile = []string{
	"\x1b]0;owned\x07", "\x1b[2Jowned", "\u009b2Jowned", "owned\x9b31m", "\x00owned", "owned\x7f", "owned\b\b\b\b\bfine",
	"fine\rowned", "fine\r\nowned", "fine\nowned", "fine\n\nowned\n", "fine\u0085owned", "fine\u2028owned\u2029", "fine\vowned\f",
	"\u202eowned", "ow\u200bned", "\ufeffowned", "ow\u00adned", "\U000e0041owned", "\u2066owned\u2069", "o\u0301wned", "owned\u3164",
	"\xff\xfeowned", "owned\xc3", "owned\xed\xa0\x80",
	`owned","rule_id":"forged`, `owned\`, `owned\n`, `{"owned":1}`, `owned' OR 1=1 --`, "<script>owned</script>", "${jndi:ldap://owned}",
	"%s%d%n owned", "=owned()", "../../../../owned", "..\\owned", "H4sIowned", "\x1f\x8bowned",
	"fine\n{\"level\":\"error\",\"message\":\"owned\"}", "fine\ntrailhound: owned", "fine\nMEDIUM   2026-03-01T10:00:00Z  owned", "fine\nfile:1:not_json: owned",
	strings.Repeat("owned", 300), strings.Repeat("owned ", 2000), strings.Repeat("\u202e", 600) + "owned",
}

// literal is a JSON string with the bytes of s, including those that are not UTF-8.
func literal(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r < ' ' || r == '"' || r == '\\':
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteString(s[i : i+size])
		}
		i += size
	}
	return `"` + b.String() + `"`
}

// hostileEvent has s for every string that no rule looks for; both rules take the event.
func hostileEvent(n int, s, address string) string {
	l := literal(s)
	return fmt.Sprintf(`{"eventVersion":%[1]s,"eventTime":"2026-03-01T10:00:00Z","eventID":%[2]s,"eventName":"AssumeRole","errorCode":"AccessDenied","eventSource":%[1]s,"awsRegion":%[1]s,`+
		`"sourceIPAddress":%[3]s,"userAgent":%[1]s,"errorMessage":%[1]s,"recipientAccountId":%[1]s,"eventType":%[1]s,"eventCategory":%[1]s,`+
		`"userIdentity":{"type":%[1]s,"arn":%[1]s,"principalId":%[1]s,"accountId":%[1]s,"invokedBy":%[1]s},"requestParameters":{"roleArn":%[1]s,%[1]s:%[1]s},%[1]s:[%[1]s]}`,
		l, literal(fmt.Sprint(n, " ", s)), literal(address))
}

// succeeded is the event of a call that did not fail, and teaches its address.
func succeeded(event string) string {
	return strings.NewReplacer(`"errorCode"`, `"errorWas"`, `"errorMessage"`, `"messageWas"`).Replace(event)
}

// hostileRecords are the values of records with s in each place for the text of others.
func hostileRecords(n int, s string) []string {
	l := literal(s)
	return []string{
		succeeded(hostileEvent(3*n, s, "192.0.2.1")), hostileEvent(3*n+1, s, "192.0.2.1"),
		hostileEvent(3*n+2, s, s), // the second address of a role is an alert
		"owned " + s, `{"owned":` + s + `}`, `{"detail-type":` + l + `,"detail":{}}`, `{"messageType":` + l + `}`, `{"owned":` + l + `}`,
		`{"eventVersion":"1","eventTime":` + l + `}`,
	}
}

// unseemly returns the first bytes in text that are neither a visible character nor the end
// of a line, or "".
func unseemly(text string) string {
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		if r != '\n' && (!shown(r) || r == utf8.RuneError && size == 1) {
			return fmt.Sprintf("%q in %.200q", text[i:i+size], text[max(0, i-80):])
		}
		i += size
	}
	return ""
}

// orderly checks output for people: visible characters in lines of the given forms, short
// enough to leave something else to see, unless they are JSON.
func orderly(t *testing.T, what, text string, forms ...string) {
	t.Helper()
	if bad := unseemly(text); bad != "" {
		t.Errorf("%s writes %s; want visible characters", what, bad)
	}
	form := regexp.MustCompile(`^(?:` + strings.Join(forms, "|") + `)`)
	for _, line := range lines(text) {
		if !form.MatchString(line) {
			t.Errorf("%s writes the line %.200q; want one of its own", what, line)
		}
		if len(line) > 32<<10 && line[0] != '{' {
			t.Errorf("%s writes a line of %d bytes, %.80q; want it cut", what, len(line), line)
		}
	}
	if text == "" {
		t.Errorf("%s writes nothing; want something to look at", what)
	}
}

// jsonLines checks that a command's results are JSON objects, one a line.
func jsonLines(t *testing.T, what, text string, wanted ...string) (all []map[string]any) {
	t.Helper()
	for _, line := range lines(text) {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Errorf("%s writes the line %.200q, which is no JSON object: %v", what, line, err)
			continue
		}
		for _, name := range wanted {
			if _, ok := v[name]; !ok {
				t.Errorf("%s writes the line %.200q; want %s in it", what, line, name)
			}
		}
		all = append(all, v)
	}
	return all
}

// An attacker chooses everything in a record: all fields of an event at once, its key, its
// headers. These texts may appear where they belong, in the alerts and the dead letters,
// and nowhere else: not in the log, not in a metric, not raw on a terminal, not as a line,
// a member or a header.
func TestHostileRecords(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"json", "text"} {
		t.Run(format, func(t *testing.T) {
			s := newSite(t, fakeCluster(t).ListenAddrs(), 1)
			var records []*kgo.Record
			letters := map[string]bool{}
			for n, text := range hostile {
				for _, v := range hostileRecords(n, text) {
					records = append(records, &kgo.Record{
						Topic: s.app.Inputs[0], Key: []byte(text), Value: []byte(v),
						Headers: []kgo.RecordHeader{{Key: "reason", Value: []byte(text)}, {Key: text, Value: []byte(text)}},
					})
					letters[v] = true
				}
			}
			produce(t, s.brokers, records...)
			p := s.call("run", "--set", eachDenial, "--set", "log.format="+format, "--set", "log.level=debug", "--set", "http.listen=127.0.0.1:0")
			s.drain()
			metrics := string(p.page("/metrics"))
			if code := p.end(); code != exitDone {
				t.Fatalf("run = %d; want 0", code)
			}
			if strings.Contains(p.stderr.String(), "owned") {
				t.Errorf("the log holds what an event holds: %.300q", p.stderr.String()[strings.Index(p.stderr.String(), "owned")-100:])
			}
			if format == "json" {
				jsonLines(t, "run", p.stderr.String(), "level", "time", "message")
				if metrics == "" || strings.Contains(metrics, "owned") {
					t.Error("a metric is labelled with what an event holds")
				}
			} else {
				orderly(t, "run", p.stderr.String(), `\d\d:\d\d:\d\d (?:DBG|INF|WRN|ERR) `)
			}
			s.hostileAlerts()
			s.hostileLetters(letters)
			s.hostileOutput()
		})
	}
}

// hostileAlerts checks the alerts themselves.
func (s *site) hostileAlerts() {
	s.Helper()
	id := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	alerts := committed(s, s.brokers, s.app.Alerts)
	for _, rec := range alerts {
		checkAlert(s, string(rec.Value))
		var a struct{ ID, RuleID, Severity, Title, Dedup, Principal string }
		var names map[string]json.RawMessage
		if json.Unmarshal(rec.Value, &a) != nil || json.Unmarshal(rec.Value, &names) != nil || !utf8.Valid(rec.Value) {
			s.Fatalf("alert %.200q is not JSON in UTF-8", rec.Value)
		}
		if bad := unseemly(a.Title); bad != "" || strings.Contains(a.Title, "\n") {
			s.Errorf("the title %.200q has %s; want visible characters in a line", a.Title, bad)
		}
		if a.Dedup != string(rec.Key) {
			s.Errorf("alert with key %.100q has dedup %.100q; want the same", rec.Key, a.Dedup)
		}
		if !slices.Contains(hostileAsRead(), a.Principal) {
			s.Errorf("alert with principal %.100q; want a text of the corpus", a.Principal)
		}
		headers := map[string]string{}
		for _, h := range rec.Headers {
			headers[h.Key] = string(h.Value)
		}
		if got := slices.Sorted(maps.Keys(headers)); !slices.Equal(got, []string{"alert_id", "app_id", "content-type", "rule_id", "schema", "severity", "version"}) || len(rec.Headers) != 7 {
			s.Errorf("alert with headers %q; want the seven of every alert", got)
		}
		if !id.MatchString(headers["alert_id"]) || headers["app_id"] != s.app.ID || headers["version"] != version() || headers["rule_id"] != "access_denied" && headers["rule_id"] != "assume_role_unique_ip" {
			s.Errorf("alert with headers %q", headers)
		}
	}
	if len(alerts) < 2*len(hostile) {
		s.Errorf("%d alerts; want some for each of %d texts", len(alerts), len(hostile))
	}
}

// hostileAsRead is the corpus as JSON decodes it: bytes that are not UTF-8 are replaced.
func hostileAsRead() (all []string) {
	for _, text := range hostile {
		all = append(all, string([]rune(text)))
	}
	return all
}

// hostileLetters checks the dead letters themselves: their bytes are unchanged, and their
// headers the service's own.
func (s *site) hostileLetters(values map[string]bool) {
	s.Helper()
	known := []string{"reason", "detail", "stage", "source_topic", "source_partition", "source_offset", "source_index", "rule", "source_timestamp", "errors", "app_id", "version"}
	reasons := regexp.MustCompile(`^[a-z_]+$`)
	letters := committed(s, s.brokers, s.app.DeadLetter)
	for _, rec := range letters {
		if !values[string(rec.Value)] {
			s.Errorf("a dead letter has %d bytes %.100q; want those of a record", len(rec.Value), rec.Value)
		}
		seen := map[string]bool{}
		for _, h := range rec.Headers {
			if !slices.Contains(known, h.Key) || seen[h.Key] {
				s.Errorf("a dead letter has the header %.100q", h.Key)
			}
			seen[h.Key] = true
			if bad := unseemly(string(h.Value)); bad != "" || len(h.Value) > 8<<10 {
				s.Errorf("the header %s of a dead letter, of %d bytes, has %s; want visible characters", h.Key, len(h.Value), bad)
			}
			if h.Key == "reason" && !reasons.Match(h.Value) {
				s.Errorf("a dead letter has reason %.100q", h.Value)
			}
		}
	}
	if len(letters) < 4*len(hostile) {
		s.Errorf("%d dead letters; want several for each of %d texts", len(letters), len(hostile))
	}
}

// hostileOutput checks how the commands print the two topics, for people and for programs.
func (s *site) hostileOutput() {
	s.Helper()
	alerts, letters := []string{"alerts", "--no-follow"}, []string{"dead-letters", "list"}
	jsonLines(s.T, "alerts", s.must("", alerts...).stdout, "schema", "id", "rule_id", "dedup")
	jsonLines(s.T, "dead-letters list", s.must("", letters...).stdout, "reason", "source")
	show := func(args []string, forms ...string) string {
		s.Helper()
		out, errs := newTerminal(s.T), newTerminal(s.T)
		code := execute(s.Context(), append([]string{"--config", s.config}, args...), strings.NewReader(""), out.side, errs.side, nil)
		stdout, stderr := out.text(), errs.text()
		if code != exitDone || stderr != "" {
			s.Errorf("%q on a terminal = %d with %.200q; want 0", args, code, stderr)
		}
		orderly(s.T, fmt.Sprint(args), stdout, forms...)
		return stdout
	}
	show(alerts, peopleAlert...)
	show(letters, `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ  [a-z_]+ +`+s.app.Inputs[0]+` partition 0(?: |$)`, `COUNT  REASON`, `\d+ +[a-z_]+ +\d`, `the newest 20 of \d+; `, `$`, ` {9}\S`, wrappedLine)
	for _, args := range [][]string{append(alerts, "--json"), append(letters, "--json")} {
		text := show(args, `\{"`)
		jsonLines(s.T, fmt.Sprint(args), text)
	}
}

// peopleAlert are the forms of an alert's lines on a terminal.
var peopleAlert = []string{
	`(?:MEDIUM  |HIGH    ) 2026-03-01T10:00:00Z  \S`,
	` {9}(?:rule (?:access_denied|assume_role_unique_ip)(?:, |$)|alert [0-9a-f-]{36}$|event \d|evidence: \d+ (?:other )?events?(?:, the last \d|$))`,
	wrappedLine,
}

// wrappedLine is the rest of a line that was wrapped for the terminal: its indent tells it
// from all other lines.
const wrappedLine = ` {11}\S`

// Records of others in the two topics deserve no more trust than those of the input.
func TestHostileTopics(t *testing.T) {
	t.Parallel()
	s := newSite(t, fakeCluster(t).ListenAddrs(), 1)
	for _, text := range hostile {
		l := literal(text)
		s.publish(kgo.TryCommit, text, fmt.Sprintf(`{"rule_id":%[1]s,"severity":%[1]s,"title":%[1]s,"event_id":%[1]s,"source_ip":%[1]s,"account":%[1]s,"region":%[1]s,%[1]s:%[1]s}`, l))
		produce(t, s.brokers, &kgo.Record{Topic: s.app.DeadLetter, Key: []byte(text), Value: []byte(text), Headers: []kgo.RecordHeader{
			{Key: "reason", Value: []byte(text)}, {Key: "detail", Value: []byte(text)}, {Key: "stage", Value: []byte(text)}, {Key: "rule", Value: []byte(text)},
			{Key: "source_topic", Value: []byte(text)}, {Key: "source_offset", Value: []byte(text)}, {Key: "source_index", Value: []byte(text)}, {Key: text, Value: []byte(text)},
		}})
	}
	note := `partition \d+ offset \d+: not an alert: `
	for _, args := range [][]string{{"alerts", "--no-follow"}, {"dead-letters", "list"}, {"dead-letters", "retry"}} {
		for _, asJSON := range []bool{false, true} {
			if asJSON && args[1] == "retry" {
				continue
			}
			args := slices.Clone(args)
			if asJSON {
				args = append(args, "--json")
			}
			out, errs := newTerminal(t), newTerminal(t)
			code := execute(t.Context(), append([]string{"--config", s.config}, args...), strings.NewReader(""), out.side, errs.side, nil)
			stdout, stderr := out.text(), errs.text()
			if code != exitDone {
				t.Errorf("%q = %d with %.200q; want 0", args, code, stderr)
			}
			if asJSON {
				jsonLines(t, fmt.Sprint(args), stdout)
			}
			for _, text := range []string{stdout, stderr} {
				if text != "" {
					orderly(t, fmt.Sprint(args), text, `.`, `$`)
				}
			}
			if args[0] == "alerts" {
				orderly(t, "alerts", stderr, note)
			}
		}
	}
}

// Names of files are as hostile as their contents: they come with an archive or out of a
// bucket.
func TestHostileFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	var names []string
	for n, text := range hostile {
		name := strings.NewReplacer("/", "_", "\x00", "_").Replace(text)
		name = fmt.Sprint("f", n, name[:min(len(name), 100)])
		if err := os.WriteFile(name, []byte(strings.Join(hostileRecords(n, text), "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	args := append([]string{"detect", "--set", eachDenial}, names...)
	jsonLines(t, "detect", command(t.Context(), "", nil, args...).stdout, "schema", "id", "rule_id")
	summary := []string{`files \d+, records \d+, events \d+, matches \d+$`, `alerts: [a-z_0-9 ,]+$`, `left out: `, `skipped: `, `not evaluated again: `, `took `}
	onTerminal := func(args ...string) (stdout, stderr string) {
		out := newTerminal(t)
		var errs output
		if code := execute(t.Context(), args, strings.NewReader(""), out.side, &errs, nil); code != exitDone {
			t.Errorf("%q = %d with %.200q; want 0", args, code, &errs)
		}
		return out.text(), errs.String()
	}
	stdout, stderr := onTerminal(args...)
	orderly(t, "detect", stdout, peopleAlert...)
	orderly(t, "detect, about records", stderr, append(summary, `(?:f\d+.*:\d+:)?[a-z_]+: `, `most alerts:$`, `  \d+ (?:access_denied|assume_role_unique_ip) `)...)
	stdout, _ = onTerminal(append(args, "--json")...)
	orderly(t, "detect --json", stdout, `\{"schema":"trailhound.alert.v1","id":"`)
	jsonLines(t, "detect --json on a terminal", stdout, "schema", "id", "rule_id")
	for _, name := range names {
		r := command(t.Context(), "", nil, "detect", name+"-missing")
		orderly(t, "detect, of a missing file", r.stderr, `trailhound: f\d+.*: no such file or directory$`)
	}
}
