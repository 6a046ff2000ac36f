package match_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	yaml "go.yaml.in/yaml/v3"

	"trailhound/rules/cloudtrail"
	"trailhound/rules/match"
)

// The members that the tests ask for stand in one event.
const event = `{"eventVersion":"1.08","eventName":"CreateAccessKey","eventSource":"iam.amazonaws.com",
"eventTime":"2026-03-01T23:30:05Z","awsRegion":"us-east-1","sourceIPAddress":"198.51.100.7","errorMessage":null,
"userIdentity":{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/Kelvin"},
"requestParameters":{"userName":"Kelvin","count":12,"deep":{"list":["one","Two\nLines",{"x":"three"}],"n":7}},
"responseElements":"{\"accessKey\":{\"status\":\"Active\"}}","empty":"","path":"C:\\Users\\me",
"resources":[{"ARN":"arn:aws:s3:::a","type":"AWS::S3::Object"},{"ARN":"arn:aws:s3:::b"},{"ARN":null}],
"mfa":true,"other":"KELVIN","ip6":"::ffff:10.1.2.3","text":"run -c d2hvYW1p","addresses":[],"dotted":"1.",
"kanji":"世x","offsets":["eHdob2FtaQ==","eHh3aGljaA=="]}`

func parse(t testing.TB, text string, lists map[string][]string) (*match.Expr, []match.Warning, error) {
	t.Helper()
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(text), &n); err != nil {
		t.Fatal(err)
	}
	return match.Parse(&n, match.Options{Lists: lists})
}

func TestMatch(t *testing.T) {
	lists := map[string][]string{"admins": {"root", "kelvin"}, "sources": {"iam", "sts"}}
	for _, c := range []struct {
		where string
		want  bool
	}{
		{`eventName: CreateAccessKey`, true},
		{`eventName: createaccesskey`, true},
		{`eventName|cased: createaccesskey`, false},
		{`eventName: [DeleteUser, CreateAccessKey]`, true},
		{`{eventName: CreateAccessKey, eventSource: sts.amazonaws.com}`, false},
		{`[{eventName: DeleteUser}, {eventSource: iam.amazonaws.com}]`, true},
		{`not: {eventName: DeleteUser}`, true},
		{`{eventName: Create*, not: [{userIdentity.type: Root}, {mfa: 'false'}]}`, true},
		{`eventName: "C?eate*Key"`, true},
		{`eventName: "C?ate*Key"`, false},
		{`kanji: "*?x*"`, true},
		{`kanji: "*??x*"`, false}, // one character, of three bytes
		{`eventName: "*"`, true},
		{`eventName|contains: '*'`, true},
		{`absent|contains: '*'`, false},
		{`errorMessage|contains: '*'`, false},
		{`eventName|startswith: create`, true},
		{`eventName|endswith: create`, false},
		{`eventName|contains|all: [access, KEY]`, true},
		{`eventName|contains|all: [access, user]`, false},
		// The Kelvin sign and k are equal by simple folding; ToLower would do as well, but
		// not for the long s.
		{"requestParameters.userName: \"\u212Aelvin\"", true},
		{"resources.type: \"aws::\u017f3::object\"", true},
		// Values at the end of a path.
		{`requestParameters.count: 12`, true},
		{`requestParameters.count: '12'`, true},
		{`requestParameters.deep|contains: two`, true},
		{`requestParameters.deep: three`, true},
		{`requestParameters.deep: 7`, false},
		{`requestParameters.deep.list: "Two*Lines"`, true},
		{`requestParameters.deep.list.x: three`, true},
		{`responseElements.accessKey.status: Active`, true},
		{`resources.ARN|endswith: ':b'`, true},
		{`resources.1.ARN|endswith: ':a'`, false},
		{`mfa: true`, true},
		{`mfa: 'TRUE'`, true},
		{`empty: ''`, true},
		{`absent: ''`, false},
		// Presence.
		{`absent: null`, true},
		{`errorMessage: null`, true},
		{`errorMessage|exists: true`, true},
		{`absent|exists: false`, true},
		{`absent|exists: true`, false},
		{`resources.ARN: null`, true},
		{`resources.ARN|exists: true`, true},
		{`addresses: null`, false},
		{`addresses|exists: true`, true},
		{`requestParameters: null`, false},
		// Backslashes.
		{`path: 'C:\Users\me'`, true},
		{`path: 'C:\\Users\\me'`, true},
		{`path|endswith: '\m?'`, true},
		{`path|endswith: '\\\m?'`, false},
		{`eventName: 'Create\*'`, false},
		// Modifiers.
		{`eventName|re: '^Create.*Key$'`, true},
		{`eventName|re: 'create'`, false},
		{`eventName|re|i: 'create'`, true},
		{`requestParameters.deep.list|re: 'Two.Lines'`, false},
		{`requestParameters.deep.list|re|s: 'Two.Lines'`, true},
		{`requestParameters.deep.list|re|m: '^Lines$'`, true},
		{`sourceIPAddress|cidr: 198.51.100.0/24`, true},
		{`sourceIPAddress|cidr: [10.0.0.0/8, 198.51.101.0/24]`, false},
		{`sourceIPAddress|cidr: 198.51.100.7`, true},
		{`ip6|cidr: 10.0.0.0/8`, true},
		{`eventName|cidr: 10.0.0.0/8`, false},
		{`requestParameters.count|gt: 11`, true},
		{`requestParameters.count|gt: 12`, false},
		{`requestParameters.count|gte: 12`, true},
		{`requestParameters.count|lt: 12.5`, true},
		{`requestParameters.count|lte: 11`, false},
		{`eventName|lt: 5`, false},
		{`dotted|gte: 1`, false},
		{`requestParameters.count|gt: -1e3`, true},
		{`eventName|neq: DeleteUser`, true},
		{`eventName|neq: CreateAccessKey`, false},
		{`absent|neq: x`, true},
		{`requestParameters.userName|fieldref: other`, true},
		{`requestParameters.userName|fieldref|cased: other`, false},
		{`userIdentity.arn|fieldref|endswith: requestParameters.userName`, true},
		{`userIdentity.arn|endswith|fieldref: other`, true},
		{`userIdentity.arn|fieldref: absent`, false},
		{`requestParameters.userName|expand: '%admins%'`, true},
		{`eventSource|expand: '%sources%.amazonaws.com'`, true},
		{`eventName|expand: '%sources%'`, false},
		{`text|windash|contains: ' /c '`, true},
		{`text|contains: ' /c '`, false},
		{`text|base64offset|contains: whoami`, true},
		{`text|base64|contains: whoami`, true},
		{`offsets|base64offset|contains: whoami`, true},
		{`offsets|base64offset|contains: which`, true},
		{`offsets|base64offset|contains: where`, false},
		{`text|wide|base64|contains: whoami`, false},
		{`eventTime|hour: 23`, true},
		{`eventTime|hour|gte: 22`, true},
		{`eventTime|minute|lt: 30`, false},
		{`eventTime|day: 1`, true},
		{`eventTime|month: 3`, true},
		{`eventTime|week: 9`, true},
		{`eventTime|year: 2026`, true},
		// Keywords.
		{`[kelvin]`, true},
		{`[nothing, three]`, true},
		{`'|all': [kelvin, three]`, true},
		{`'|all': [kelvin, nothing]`, false},
		{`'|re': 'user/K'`, true},
		// Conditions.
		{`{a: {eventName: X}, b: {mfa: true}, condition: a or b}`, true},
		{`{a: {eventName: X}, b: {mfa: true}, condition: a and b}`, false},
		{`{a: {eventName: X}, b: {mfa: true}, condition: not a and b}`, true},
		{`{a: {eventName: X}, b: {mfa: true}, condition: b or b and a}`, true},
		{`{a: {eventName: X}, b: {mfa: true}, condition: (b or b) and a}`, false},
		{`{s_a: {eventName: X}, s_b: {mfa: true}, condition: 1 of s_*}`, true},
		{`{s_a: {eventName: X}, s_b: {mfa: true}, condition: all of s_*}`, false},
		{`{s: {mfa: true}, _f: {eventName: X}, condition: all of them}`, true},
		{`{s: {mfa: true}, f: {eventName: X}, condition: [f, s and not f]}`, true},
		{`{k: [nothing, kelvin], condition: k}`, true},
	} {
		x, _, err := parse(t, c.where, lists)
		if err != nil {
			t.Errorf("%s: %v", c.where, err)
			continue
		}
		if got := x.Match(&cloudtrail.Event{Raw: []byte(event)}); got != c.want {
			t.Errorf("%s: %t; want %t", c.where, got, c.want)
		}
	}
}

// Every fault is told with its place, and nothing that is not understood is passed over.
func TestParseFaults(t *testing.T) {
	for where, want := range map[string]string{
		`eventName|startwith: x`:                   `line 1, column 1: the modifier "startwith" is not known`,
		"a: b\neventName|contains|startswith: x":   `line 2, column 1: "startswith" cannot follow "contains"`,
		`eventName|i: x`:                           `"i" stands behind re only`,
		`eventName|re: '('`:                        `line 1, column 15: the regular expression is not one of RE2`,
		`eventName|re|contains: x`:                 `"contains" cannot follow "re"`,
		`eventName|re|cased: x`:                    `leave cased out`,
		`eventName|cidr: 10.0.0.0/33`:              `is not a network`,
		`eventName|gt: many`:                       `"many" is not a number`,
		`eventName|exists: perhaps`:                `exists takes true or false`,
		`eventName|expand: '%nobody%'`:             `%nobody% stands for a list`,
		`eventName|wide: x`:                        `base64 or base64offset has to follow it`,
		`eventName|base64: 'a*'`:                   `encodes bytes`,
		`eventName|contains: null`:                 `null is compared as it is`,
		`eventName: []`:                            `an empty list`,
		`eventName: {a: b}`:                        `a value is wanted here`,
		`eventName: [[a]]`:                         `a value is wanted here`,
		`eventName: !!binary aGk=`:                 `the tag "!!binary" is not supported`,
		`{}`:                                       `an empty selection`,
		`[]`:                                       `an empty selection`,
		`null`:                                     `an empty selection`,
		`[{a: b}, c]`:                              `not of both`,
		`[[a]]`:                                    `a list in a list`,
		`{a: b, a: c}`:                             `"a" comes twice`,
		`{a..b: c}`:                                `an empty name between its dots`,
		`{"": c}`:                                  `a field without a name`,
		`{a: {b: c}, condition: a and}`:            `ends where the name of a selection is wanted`,
		`{a: {b: c}, condition: a b}`:              `goes on with "b"`,
		`{a: {b: c}, condition: (a}`:               `is not closed`,
		`{a: {b: c}, condition: x}`:                `names "x", and the selections are a`,
		`{a: {b: c}, condition: 2 of a*}`:          `1 of, any of and all of are known`,
		`{a: {b: c}, condition: 1 of x*}`:          `no selection is meant by "x*"`,
		`{a: {b: c}, condition: a | count() > 5}`:  `an aggregation of old Sigma`,
		`{a: {b: c}, condition: a, timeframe: 5m}`: `timeframe belongs to aggregations`,
		`{not: {b: c}, condition: not not}`:        `not is a word of conditions`,
		`{a: {b: c}, condition: {d: e}}`:           `a condition is a text`,
		`{a: {b: c}, condition: []}`:               `an empty list of conditions`,
		`a: ` + strings.Repeat("x", 1025):          `at most 1024 are compared`,
		`{<<: {a: b}}`:                             `merging with << is not supported`,
		"a: 'x'\nb|windash: ' -a -b -c -d -e'":     `more than four dashes`,
		strings.Repeat("not: {", 70) + "a: b" + strings.Repeat("}", 70): `nested more than 64 deep`,
	} {
		_, _, err := parse(t, where, nil)
		var e *match.Error
		if err == nil || !strings.Contains(err.Error(), want) || !errors.As(err, &e) || e.Line < 1 || e.Column < 1 {
			t.Errorf("%.80s\n got %v\nwant %s", where, err, want)
		}
	}
}

// An alias is a node at each use: a few lines of YAML could stand for billions.
func TestParseBomb(t *testing.T) {
	var b strings.Builder
	b.WriteString("a0: &a0 {x: y}\n")
	for i := 1; i < 40; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [*a%d, *a%d]\n", i, i, i-1, i-1)
	}
	b.WriteString("condition: a39\n")
	if _, _, err := parse(t, b.String(), nil); err == nil {
		t.Error("a bomb of aliases was compiled")
	}
}

func TestWarningOfUnusedSelection(t *testing.T) {
	_, warnings, err := parse(t, "a: {b: c}\nunused: {d: e}\ncondition: a", nil)
	if err != nil || len(warnings) != 1 || warnings[0].Line != 2 || !strings.Contains(warnings[0].Text, "unused") {
		t.Errorf("%v, %v", warnings, err)
	}
}

func TestPaths(t *testing.T) {
	x, _, err := parse(t, `{eventName: a, b.c|fieldref: d, not: {eventName: e, f: null}}`, nil)
	if got := fmt.Sprint(x.Paths()); err != nil || got != "[eventName b.c d f]" {
		t.Errorf("%s, %v", got, err)
	}
}
