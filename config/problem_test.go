package config

import (
	"errors"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"trailhound/config/duration"
)

// Every way in which a file can be wrong, with its sentence; FILE stands for the file's path.
func TestFileProblems(t *testing.T) {
	tests := []struct{ file, want string }{
		{"kafka:\n  broker: [a:1]\n", "FILE:2:3: unknown key kafka.broker; did you mean kafka.brokers?"},
		{"brokers: [a:1]\n", "FILE:1:1: unknown key brokers; did you mean kafka.brokers?"},
		{"http: {colour: red}\n", "FILE:1:8: unknown key http.colour; http has listen, pprof"},
		{"kafka.brokers: a:1\n", "FILE:1:1: unknown key kafka.brokers; write it as keys inside keys: kafka: {brokers: …}"},
		{"\"sh\\u001bards\": 1\n", "FILE:1:1: unknown key \"sh\\x1bards\"; did you mean shards?"},
		{"rules: {acess_denied: false}\n", "FILE:1:9: unknown rule acess_denied; did you mean access_denied?"},
		{"rules: {access_denied: {treshold: 1}}\n", "FILE:1:25: unknown key rules.access_denied.treshold; did you mean rules.access_denied.threshold?"},
		{"rules: {access_denied: [1]}\n", `FILE:1:24: rules.access_denied: one value is wanted (true or false), not a list`},
		{"rules: {access_denied: 5}\n", `FILE:1:24: rules.access_denied: "5" is neither true nor false; write true or false`},
		{"rules: {access_denied: off}\n", `FILE:1:24: rules.access_denied: "off" is neither true nor false; write false`},
		{"rules: {access_denied: {enabled: false}}\n", "FILE:1:25: unknown key rules.access_denied.enabled; a rule is on unless it is false: write rules.access_denied: false, or leave the key out"},
		{"rules: {assume_role_unique_ip: {Disabled: true}}\n", "FILE:1:33: unknown key rules.assume_role_unique_ip.Disabled; a rule is on unless it is false: write rules.assume_role_unique_ip: false, or leave the key out"},
		{"rules: {access_denied: {username: alice}}\n", "FILE:1:25: unknown key rules.access_denied.username; rules.access_denied has denied_family, error_codes, suppress, threshold, window"},
		{"kafka: {x-common: 1}\n", "FILE:1:9: unknown key kafka.x-common; kafka has brokers, client_id, compression, request_timeout, sasl, session_timeout, tls, transaction_timeout"},
		{"x-a: &a {treshold: 1}\nrules: {access_denied: {<<: *a}}\n", "FILE:1:10: unknown key rules.access_denied.treshold; did you mean rules.access_denied.threshold?"},
		{"shards: 1\n<<: 5\n", `FILE:2:5: << takes what an anchor names, such as <<: *common, not the value "5"`},
		{"<<: [{shards: 1}, many]\n", `FILE:1:19: << takes what an anchor names, such as <<: *common, not the value "many"`},
		{"state_dir: ~/data\n", `FILE:1:12: state_dir: "~/data" begins with ~, which shells alone replace by a home directory; write the path from / on`},
		{"kafka: {tls: {enabled: true, ca_file: ~ann/ca.pem}}\n", `FILE:1:39: kafka.tls.ca_file: "~ann/ca.pem" begins with ~, which shells alone replace by a home directory; write the path from / on`},
		{"rules: {access_denied: {error_codes: [[a]]}}\n", "FILE:1:38: rules.access_denied.error_codes: a list of values is wanted, such as [a, b], not a list"},
		{"shards: 1\nshards: 2\n", "FILE:2:1: shards: is given twice, first in line 1"},
		{"kafka: a:1\n", `FILE:1:8: kafka: keys are wanted here (brokers, client_id, compression, request_timeout, sasl, session_timeout, tls, transaction_timeout), not the value "a:1"`},
		{"shards: {a: 1}\n", "FILE:1:9: shards: one value is wanted (number), not keys below it"},
		{"shards: eight\n", `FILE:1:9: shards: "eight" is not a whole number`},
		{"shards: 99999999999999999999\n", "FILE:1:9: shards: 99999999999999999999 is too large a number"},
		{"topics: {create: yes}\n", `FILE:1:18: topics.create: "yes" is neither true nor false; write true`},
		{"events: {max_ahead: 24}\n", `FILE:1:21: events.max_ahead: "24" is not a duration; write one such as 90s, 1h30m or 7d`},
		{"limits: {max_unpacked: lots}\n", `FILE:1:24: limits.max_unpacked: "lots" is not a size; write one such as 256MiB`},
		{"a: b: c\n", "FILE:1:1: mapping values are not allowed in this context"},
		{"- a\n", "FILE:1:1: keys are wanted here (accept_change, accept_loss, app_id, events, http, instance_id, kafka, leave_on_stop, limits, log, rules, shards, start, state, state_dir, topics), not a list"},
		{"shards: 1\n---\nshards: 2\n", "FILE:2:1: there is more than one YAML document; write one"},
		{"shards: a\nstart: now\nbogus: 1\n", "FILE:1:9: shards: \"a\" is not a whole number\nFILE:3:1: unknown key bogus; known keys are accept_change, accept_loss, app_id, events, http, instance_id, kafka, leave_on_stop, limits, log, rules, shards, start, state, state_dir, topics"},
	}
	for _, tt := range tests {
		rules, _ := known()
		name := write(t, tt.file)
		_, err := Load(Input{File: name, Rules: rules})
		want := strings.ReplaceAll(tt.want, "FILE", name)
		if err == nil || err.Error() != want {
			t.Errorf("Load(%q) = %v; want %s", tt.file, err, want)
		}
	}
}

// The YAML parser itself gives no line for bytes that are not text, and for wrong
// indentation one that is above all of it.
func TestLineOfSyntaxProblem(t *testing.T) {
	head := "shards: 1\ntopics:\n  input:\n    - a\n"
	for text, want := range map[string]string{
		head + "   - b\n" + head:                  "FILE:5:1: did not find expected key",
		head + "\t- b\n" + head:                   "FILE:5:1: a tab in the indentation; YAML takes spaces alone there",
		"shards: 1\nkafka:\n  \tbrokers: [a:1]\n": "FILE:3:3: a tab in the indentation; YAML takes spaces alone there",
		"kafka:\n\tbrokers: [a:1]\n" + head:       "FILE:2:1: a tab in the indentation; YAML takes spaces alone there",
		"\tshards: 1\n":                           "FILE:1:1: a tab in the indentation; YAML takes spaces alone there",
		head + "    - b\x00\n":                    "FILE:5:1: control characters are not allowed",
		head + "# \xff\n" + head:                  "FILE:5:1: invalid leading UTF-8 octet",
		head + "    - \"b\n":                      "FILE:5:1: found unexpected end of stream",
		head + "---\n" + head:                     "FILE:5:1: there is more than one YAML document; write one",
		head + "    - [b":                         "FILE:5:1: did not find expected ',' or ']'",
	} {
		name := write(t, text)
		_, err := Load(Input{File: name})
		if want = strings.ReplaceAll(want, "FILE", name); err == nil || err.Error() != want {
			t.Errorf("Load(%q) = %v; want %s", text, err, want)
		}
	}
}

func TestFilesThatAreFine(t *testing.T) {
	for _, file := range []string{
		"", "# nothing\n", "\ufeffshards: 2\n", "kafka:\nshards: ~\n", "---\nshards: 2\n...\n",
		"shards: &n 4\ntopics: {alert_partitions: *n}\n", "topics: {input: one}\n", "shards: \"8\"\n",
	} {
		if _, err := Load(Input{File: write(t, file)}); err != nil {
			t.Errorf("Load(%q) = %v; want no error", file, err)
		}
	}
}

func TestMissingFile(t *testing.T) {
	name := t.TempDir() + "/none.yaml"
	_, err := Load(Input{File: name, Set: []string{"shards=x"}})
	want := "read the configuration: open " + name + ": no such file or directory\n--set shards: \"x\" is not a whole number"
	if problems, ok := errors.AsType[Problems](err); !ok || problems.Error() != want {
		t.Errorf("Load(a file that is not there) = %v; want Problems: %s", err, want)
	}
}

// A key or a value of a megabyte must not fill the screen: its beginning is shown, and the line still ends with the way
// out.
func TestLongValues(t *testing.T) {
	rules, _ := known()
	long := strings.Repeat("ä", 500_000)
	c, s := Default(), newFieldSet()
	s.addStruct("", "yaml", &c)
	addRules(s, rules)
	inputs := []Input{
		{File: write(t, long)}, {File: write(t, long+": 1\n")}, {File: write(t, "a: *"+long+"\n")}, {File: write(t, "kafka: \""+long+"\n")},
		{File: write(t, "rules: {"+long+": false}\n")}, {Environment: []string{EnvPrefix + long + "=1"}}, {Set: []string{long}}, {Set: []string{long + "=1"}},
		{Set: []string{"shards=" + strings.Repeat("9", 1_000_000)}},
	}
	for _, f := range s.list {
		inputs = append(inputs, Input{Set: []string{f.path + "=" + long}}, Input{Environment: []string{variable(f.path) + "=" + long}},
			Input{Set: []string{f.path + "=[[" + long + "]"}}, Input{Set: []string{f.path + "={" + long + ": 1}"}})
	}
	for _, in := range inputs {
		in.Rules = rules
		_, err := Load(in)
		if err == nil {
			continue // a name may be long
		}
		for line := range strings.Lines(err.Error()) {
			if len(line) > 1500 { // two values of 200 bytes, escaped, in their sentence
				t.Errorf("Load(%.60q, %.60q, %s) = %d bytes: %.400q…; want the values cut", in.Set, in.Environment, in.File, len(line), line)
			}
		}
	}
}

// TestMerge: a key merged by << counts where the section has none of the name; an anchor
// that merges itself, or very often, ends.
func TestMerge(t *testing.T) {
	for text, want := range map[string]int64{
		"x-a: &a {threshold: 3, window: 5m}\nrules: {access_denied: {<<: *a}}\n":                                                       3,
		"x-a: &a {threshold: 3, window: 5m}\nrules: {access_denied: {threshold: 4, <<: *a}}\n":                                         4,
		"x-a: &a {threshold: 3, window: 5m}\nx-b: &b {threshold: 5}\nrules: {access_denied: {<<: [*b, *a]}}\n":                         5,
		"x-a: &a {threshold: 3}\nx-b: &b {<<: *a, window: 5m}\nrules: {access_denied: {<<: *b}}\n":                                     3,
		"x-a: &a\n  threshold: 3\n  window: 5m\n  <<: *a\nrules: {access_denied: *a}\n":                                                3,
		"x-a: &a {threshold: 3, window: 5m}\nx-b: &b {<<: [*a, *a]}\nx-c: &c {<<: [*b, *b]}\nrules: {access_denied: {<<: [*c, *c]}}\n": 3,
	} {
		rules, p := known()
		if _, err := Load(Input{File: write(t, text), Rules: rules}); err != nil || p.Threshold != want || duration.Format(p.Window) != "5m" {
			t.Errorf("Load(%q) = %v, threshold %d, window %s; want %d and 5m", text, err, p.Threshold, p.Window, want)
		}
	}
}

// Every sentence of the checks. Each line is one --set per word group, separated by blanks.
func TestChecks(t *testing.T) {
	long := strings.Repeat("x", 250)
	tests := []struct {
		set  string
		want string
	}{
		{"app_id=Trail.Hound", `--set app_id: "Trail.Hound" is not an application id; use a-z, 0-9, _ and -, at most 200`},
		{"app_id=", `--set app_id: "" is not an application id; use a-z, 0-9, _ and -, at most 200`},
		{"instance_id=a/b", `--set instance_id: "a/b" is not an instance id; use letters, digits, ., _ and -, at most 249`},
		{"kafka.brokers=", "--set kafka.brokers: a broker is missing; write [host:port]"},
		{"kafka.brokers=kafka1", `--set kafka.brokers: "kafka1" has no port; write kafka1:9092`},
		{"kafka.brokers=::1", `--set kafka.brokers: "::1" has no port; write [::1]:9092`},
		{"kafka.brokers=[::1]", `--set kafka.brokers: "[::1]" has no port; write [::1]:9092`},
		{"kafka.brokers=:9092", `--set kafka.brokers: ":9092" is not host:port`},
		{"kafka.brokers=http://a:1", `--set kafka.brokers: "http://a:1" is not host:port`},
		{"kafka.brokers=a:x", `--set kafka.brokers: "a:x" is not host:port; the port is a number from 1 to 65535`},
		{"kafka.brokers=a:0", `--set kafka.brokers: "a:0" is not host:port; the port is a number from 1 to 65535`},
		{"kafka.client_id=", "--set kafka.client_id: a name is missing"},
		{"kafka.session_timeout=1s", "--set kafka.session_timeout: 1s is too small; the least is 6s"},
		{"kafka.session_timeout=1h", "--set kafka.session_timeout: 1h is too large; the most is 30m"},
		{"kafka.transaction_timeout=16m", "--set kafka.transaction_timeout: 16m is too large; the most is 15m"},
		{"kafka.request_timeout=0", "--set kafka.request_timeout: 0s is too small; the least is 100ms"},
		{"kafka.request_timeout=15s", "--set kafka.request_timeout: 15s is not shorter than kafka.transaction_timeout, 15s: a transaction would be aborted while its request is still waited for"},
		{"kafka.compression=zip", `--set kafka.compression: "zip" is not one of none, gzip, snappy, lz4, zstd; did you mean gzip?`},
		{"kafka.compression=uncompressed", `--set kafka.compression: "uncompressed" is not one of none, gzip, snappy, lz4, zstd`},
		{"kafka.tls.ca_file=a", "--set kafka.tls.ca_file: has no effect without kafka.tls.enabled: true"},
		{"kafka.tls.server_name=a", "--set kafka.tls.server_name: has no effect without kafka.tls.enabled: true"},
		{"kafka.tls.key_file=a", "--set kafka.tls.key_file: kafka.tls.cert_file and kafka.tls.key_file are given together or not at all"},
		{"kafka.sasl.mechanism=oauth", `--set kafka.sasl.mechanism: "oauth" is not one of none, plain, scram-sha-256, scram-sha-512, oauthbearer, aws-msk-iam`},
		{"kafka.sasl.username=u", "--set kafka.sasl.username: has no effect without kafka.sasl.mechanism plain or scram-sha-…"},
		{"kafka.sasl.password=p", "--set kafka.sasl.password: has no effect without kafka.sasl.mechanism plain or scram-sha-…"},
		{"kafka.sasl.mechanism=plain kafka.sasl.password=p", "kafka.sasl.username: a user name is missing for kafka.sasl.mechanism plain"},
		{"kafka.sasl.mechanism=plain kafka.sasl.username=u", "kafka.sasl.password: a password is missing; give kafka.sasl.password_file, or TRAILHOUND_KAFKA_SASL_PASSWORD"},
		{"kafka.sasl.mechanism=plain kafka.sasl.username=u kafka.sasl.password=p kafka.sasl.password_file=f", "--set kafka.sasl.password: kafka.sasl.password and kafka.sasl.password_file are both given; give one"},
		{"kafka.sasl.mechanism=aws-msk-iam kafka.sasl.aws_region=eu-west-1", "--set kafka.sasl.mechanism: aws-msk-iam takes kafka.tls.enabled: true, since MSK offers it with TLS only"},
		{"kafka.sasl.mechanism=aws-msk-iam kafka.tls.enabled=true", "kafka.sasl.aws_region: the region of the MSK cluster is missing, such as eu-west-1"},
		{"kafka.sasl.aws_region=eu-west-1", "--set kafka.sasl.aws_region: has no effect without kafka.sasl.mechanism aws-msk-iam"},
		{"kafka.sasl.token=t", "--set kafka.sasl.token: kafka.sasl.token, token_file and oauth.token_url have no effect without kafka.sasl.mechanism oauthbearer"},
		{"kafka.sasl.mechanism=oauthbearer", "kafka.sasl.token: a token is missing; give kafka.sasl.token_file, kafka.sasl.oauth.token_url, or TRAILHOUND_KAFKA_SASL_TOKEN"},
		{"kafka.sasl.mechanism=oauthbearer kafka.sasl.token=t kafka.sasl.token_file=f", "--set kafka.sasl.token: of kafka.sasl.token, token_file and oauth.token_url more than one is given; give one"},
		{"kafka.sasl.mechanism=oauthbearer kafka.sasl.oauth.token_url=a/t kafka.sasl.oauth.client_id=i kafka.sasl.oauth.client_secret=s", "--set kafka.sasl.oauth.token_url: it is not the URL of a token endpoint; write one such as https://login.example.com/oauth2/token"},
		{"kafka.sasl.mechanism=oauthbearer kafka.sasl.oauth.token_url=http://a/t kafka.sasl.oauth.client_id=i kafka.sasl.oauth.client_secret=s", "--set kafka.sasl.oauth.token_url: the client secret would go over the network in plain text; write https://"},
		{"kafka.sasl.mechanism=oauthbearer kafka.sasl.oauth.token_url=https://a/t kafka.sasl.oauth.client_secret=s", "kafka.sasl.oauth.client_id: a client id is missing for kafka.sasl.oauth.token_url"},
		{"kafka.sasl.oauth.client_id=i", "--set kafka.sasl.oauth.client_id: has no effect without kafka.sasl.oauth.token_url"},
		{"kafka.sasl.mechanism=oauthbearer kafka.sasl.oauth.token_url=https://a/t kafka.sasl.oauth.client_id=i", "kafka.sasl.oauth.client_secret: a client secret is missing; give kafka.sasl.oauth.client_secret_file, or TRAILHOUND_KAFKA_SASL_OAUTH_CLIENT_SECRET"},
		{"kafka.sasl.mechanism=oauthbearer kafka.sasl.oauth.token_url=https://a/t kafka.sasl.oauth.client_id=i kafka.sasl.oauth.client_secret=s kafka.sasl.oauth.client_secret_file=f", "--set kafka.sasl.oauth.client_secret: kafka.sasl.oauth.client_secret and kafka.sasl.oauth.client_secret_file are both given; give one"},
		{"kafka.sasl.oauth.client_secret=s", "--set kafka.sasl.oauth.client_secret: has no effect without kafka.sasl.oauth.token_url"},
		{"kafka.sasl.oauth.scopes=s", "--set kafka.sasl.oauth.scopes: has no effect without kafka.sasl.oauth.token_url"},
		{"kafka.sasl.oauth.extensions=a=b", "--set kafka.sasl.oauth.extensions: has no effect without kafka.sasl.mechanism oauthbearer"},
		{"kafka.sasl.mechanism=oauthbearer kafka.sasl.token=t kafka.sasl.oauth.extensions=auth=b", "--set kafka.sasl.oauth.extensions: an extension is name=value, its name of letters and not auth"},
		{"topics.input=", "--set topics.input: an input topic is missing"},
		{"topics.input=a,a", "--set topics.input: a is given twice"},
		{"topics.input=a/b", `--set topics.input: "a/b" is not a topic's name; use letters, digits, ., _ and -, at most 249`},
		{"topics.input=trailhound.work", "--set topics.input: trailhound.work is a topic of the application itself"},
		{"topics.alerts=", "--set topics.alerts: a topic's name is missing"},
		{"topics.alerts=" + long, `--set topics.alerts: "` + long[:200] + `…" is not a topic's name; use letters, digits, ., _ and -, at most 249`},
		{"topics.alerts=..", `--set topics.alerts: ".." is not a topic's name; use letters, digits, ., _ and -, at most 249`},
		{"topics.alerts=cloudtrail", "--set topics.alerts: cloudtrail is an input topic too; give another"},
		{"topics.alerts=trailhound.state", "--set topics.alerts: trailhound.state is a topic of the application itself; give another"},
		{"topics.dead_letter=alerts", "--set topics.dead_letter: alerts is the topic of the alerts; give another"},
		{"topics.dead_letter=cloudtrail", "--set topics.dead_letter: cloudtrail is an input topic too; give another"},
		{"topics.replication=0", "--set topics.replication: 0 is not a replication factor; write -1 for the brokers' default, or 1 and more"},
		{"topics.replication=-2", "--set topics.replication: -2 is too small; the least is -1"},
		{"topics.alert_partitions=0", "--set topics.alert_partitions: 0 is too small; the least is 1"},
		{"topics.dead_letter_partitions=0", "--set topics.dead_letter_partitions: 0 is too small; the least is 1"},
		{"start=now", `--set start: "now" is not one of earliest, latest`},
		{"shards=0", "--set shards: 0 is too small; the least is 1"},
		{"shards=5000", "--set shards: 5000 is too large; the most is 4096"},
		{"state_dir=", "--set state_dir: a directory is missing"},
		{"state_dir=~", `--set state_dir: "~" begins with ~, which shells alone replace by a home directory; write the path from / on`},
		{"state.cache=1KB", "--set state.cache: 1KB is too small; the least is 1MiB"},
		{"state.lifetime=1s", "--set state.lifetime: 1s is too small; the least is 1h"},
		{"http.listen=9464", `--set http.listen: "9464" is not an address; write host:port, or :9464 for all interfaces`},
		{"http.listen=:http", `--set http.listen: ":http" is not an address; the port is a number up to 65535`},
		{"events.duplicates_within=-1h", "--set events.duplicates_within: -1h is too small; the least is 0"},
		{"events.max_lateness=-1h", "--set events.max_lateness: -1h is too small; the least is 0"},
		{"events.max_ahead=-1h", "--set events.max_ahead: -1h is too small; the least is 0"},
		{"events.max_drift=-1h", "--set events.max_drift: -1h is too small; the least is 0"},
		{"limits.max_unpacked=1", "--set limits.max_unpacked: 1B is too small; the least is 1KiB"},
		{"limits.max_alert_bytes=1KiB", "--set limits.max_alert_bytes: 1KiB is too small; the least is 64KiB"},
		{"limits.max_alert_bytes=1GiB", "--set limits.max_alert_bytes: 1GiB is too large; the most is 64MiB"},
		{"limits.max_set_members=0", "--set limits.max_set_members: 0 is too small; the least is 1"},
		{"log.level=loud", `--set log.level: "loud" is not one of debug, info, warn, error`},
		{"log.format=xml", `--set log.format: "xml" is not one of auto, json, text`},
	}
	covered := map[string]bool{}
	for _, tt := range tests {
		set := strings.Fields(tt.set)
		_, err := Load(Input{Set: set})
		if err == nil || err.Error() != tt.want {
			t.Errorf("Load(%q) = %v; want %s", set, err, tt.want)
		}
		key, _, _ := strings.Cut(strings.TrimPrefix(tt.want, "--set "), ":")
		covered[key] = true
	}
	for _, path := range []string{"kafka.tls.cert_file"} { // same sentence as ca_file
		covered[path] = true
	}
	c := Default()
	s := newFieldSet()
	s.addStruct("", "yaml", &c)
	for _, f := range s.list {
		if (f.bounds != "" || len(f.one) > 0) && !covered[f.path] {
			t.Errorf("no case above for the limits of %s; want one", f.path)
		}
	}
	for _, k := range checks {
		if !covered[k.path] {
			t.Errorf("no case above for the check of %s; want one", k.path)
		}
	}
}

func TestFlagProblems(t *testing.T) {
	tests := []struct{ set, want string }{
		{"shards", "--set shards: a value is missing; write PATH=VALUE, such as shards=4"},
		{"shard=4", "--set shard: unknown key shard; did you mean shards?"},
		{"rules.access_denid.threshold=4", "--set rules.access_denid.threshold: unknown rule access_denid; did you mean access_denied?"},
		{"rules.access_denied.treshold=4", "--set rules.access_denied.treshold: unknown key rules.access_denied.treshold; did you mean rules.access_denied.threshold?"},
		{"shards.a.b=4", "--set shards.a.b: unknown key shards.a.b; shards has no keys below it"},
		{"shards.a=4", "--set shards.a: unknown key shards.a; shards has no keys below it"},
		{"=4", "--set : unknown key \"\"; known keys are accept_change, accept_loss, app_id, events, http, instance_id, kafka, leave_on_stop, limits, log, rules, shards, start, state, state_dir, topics"},
		{"kafka=a", `--set kafka: keys are wanted here (brokers, client_id, compression, request_timeout, sasl, session_timeout, tls, transaction_timeout), not the value "a"`},
		{"kafka={brokers: [a:1", "--set kafka: its value is not YAML; write it as {key: value}"},
		{"kafka={broker: [a:1]}", "--set kafka: unknown key kafka.broker; did you mean kafka.brokers?"},
		{"kafka.brokers=[a:1", `--set kafka.brokers: "[a:1" is not a list; write a,b or [a, b]`},
		{"rules.access_denied.threshold=x", `--set rules.access_denied.threshold: "x" is not a whole number`},
	}
	for _, tt := range tests {
		rules, _ := known()
		_, err := Load(Input{Set: []string{tt.set}, Rules: rules})
		if err == nil || err.Error() != tt.want {
			t.Errorf("Load(--set %s) = %v; want %s", tt.set, err, tt.want)
		}
	}
}

func TestEnvironmentProblems(t *testing.T) {
	tests := []struct{ env, want string }{
		{"TRAILHOUND_KAFKA_BROKER=a:1", "TRAILHOUND_KAFKA_BROKER: no key has this variable; did you mean TRAILHOUND_KAFKA_BROKERS?"},
		{"TRAILHOUND_RULES_ACCESS_DENIED_TRESHOLD=1", "TRAILHOUND_RULES_ACCESS_DENIED_TRESHOLD: no key has this variable; did you mean TRAILHOUND_RULES_ACCESS_DENIED_THRESHOLD?"},
		{"TRAILHOUND_X=1", "TRAILHOUND_X: no key has this variable; see trailhound config print, whose key kafka.brokers is TRAILHOUND_KAFKA_BROKERS"},
		{"TRAILHOUND_SHARDS=x", `TRAILHOUND_SHARDS: shards: "x" is not a whole number`},
		{"TRAILHOUND_SHARDS=0", "TRAILHOUND_SHARDS: shards: 0 is too small; the least is 1"},
		{"TRAILHOUND_TOPICS_INPUT=[a", `TRAILHOUND_TOPICS_INPUT: topics.input: "[a" is not a list; write a,b or [a, b]`},
	}
	for _, tt := range tests {
		rules, _ := known()
		_, err := Load(Input{Environment: []string{tt.env}, Rules: rules})
		if err == nil || err.Error() != tt.want {
			t.Errorf("Load(%s) = %v; want %s", tt.env, err, tt.want)
		}
	}
	for _, env := range []string{
		"TRAILHOUND_CONFIG=x", "TRAILHOUND_TEST_KAFKA=y", "TRAILHOUNDS=1", "TRAILHOUND_RULES_ACCESS_DENIED=false",
		"TRAILHOUND_SERVICE_HOST=10.0.0.1", "TRAILHOUND_SERVICE_PORT_HTTP=1", "TRAILHOUND_PORT=tcp://10.0.0.1:9464", "TRAILHOUND_PORT_9464_TCP_ADDR=10.0.0.1",
		"TRAILHOUND_HEADLESS_SERVICE_HOST=10.0.0.1",
	} {
		rules, _ := known()
		if _, err := Load(Input{Environment: []string{env}, Rules: rules}); err != nil {
			t.Errorf("Load(%s) = %v; want no error", env, err)
		}
	}
}

func TestDecodeParams(t *testing.T) {
	decode := func(text string) (*deniedParams, *options, error) {
		var node yaml.Node
		if err := yaml.Unmarshal([]byte(text), &node); err != nil {
			t.Fatal(err)
		}
		p, o := &deniedParams{Threshold: 10}, &options{}
		return p, o, DecodeParams("parameters", &node, p, o)
	}
	p, o, err := decode("{threshold: 3, window: 1d, error_codes: [a, b], denied_family: true, suppress: 5m}")
	if err != nil || p.Threshold != 3 || duration.Format(p.Window) != "24h" || len(p.ErrorCodes) != 2 || !p.DeniedFamily || duration.Format(o.Suppress) != "5m" {
		t.Errorf("DecodeParams(…) = %+v, %+v, %v; want every value set", p, o, err)
	}
	for text, want := range map[string]string{
		"{treshold: 3}":      "parameters:1:2: unknown key treshold; did you mean threshold?",
		"{unexported: 3}":    "parameters:1:2: unknown key unexported; known keys are denied_family, error_codes, suppress, threshold, window",
		"threshold: 1.5":     `parameters:1:12: threshold: "1.5" is not a whole number`,
		"[threshold]":        "parameters:1:1: keys are wanted here (denied_family, error_codes, suppress, threshold, window), not a list",
		"{suppress: 1 hour}": `parameters:1:12: suppress: "1 hour" is not a duration; write one such as 90s, 1h30m or 7d`,
	} {
		if _, _, err := decode(text); err == nil || err.Error() != want {
			t.Errorf("DecodeParams(%s) = %v; want %s", text, err, want)
		}
	}
	var file struct {
		Any *yaml.Node `param:"any"`
	}
	root, err := ParseYAML("file", []byte("x: &x [a]\nany: *x"))
	if err != nil {
		t.Fatal(err)
	}
	if err := DecodeParams("file", root, &file); err == nil || err.Error() != "file:1:1: unknown key x; known keys are any" || file.Any.Kind != yaml.SequenceNode {
		t.Errorf("DecodeParams(any: *x) = %v, %v; want the list, and an error for x", err, file.Any)
	}
	if err := DecodeParams("parameters", nil, &options{}); err != nil {
		t.Errorf("DecodeParams(nil) = %v; want no error", err)
	}
}
