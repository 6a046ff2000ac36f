package cloudtrail

import (
	"testing"
	"unsafe"
)

type fieldCase struct {
	name  string
	event string
	check func(e *Event) (got, want any)
}

const stamp = `"eventVersion":"1.08","eventTime":"2026-03-01T10:00:00Z"`

var fieldCases = []fieldCase{
	{"every field", `{"eventVersion":"1.08","eventTime":"2026-03-01T11:00:00.25+01:00","eventID":"id","eventName":"name","eventSource":"source","awsRegion":"region","sourceIPAddress":"ip","errorCode":"code","errorMessage":"message","recipientAccountId":"account","eventType":"type","eventCategory":"category","userIdentity":{"type":"t","arn":"a","principalId":"p","accountId":"c","invokedBy":"i","sessionContext":{"sessionIssuer":{"arn":"issuer"}}},"requestParameters":{}}`,
		func(e *Event) (any, any) {
			return dump(e, e.requestParameters, nil), `["id" "name" "source" "region" "ip" "code" "message" "account" "1.08" "type" "category" "2026-03-01T10:00:00.25Z" "t" "a" "p" "c" "i" "issuer" "{}" ""]`
		}},
	{"nothing but what must be", `{` + stamp + `}`, func(e *Event) (any, any) {
		return dump(e, e.requestParameters, nil), `["" "" "" "" "" "" "" "" "1.08" "" "" "2026-03-01T10:00:00Z" "" "" "" "" "" "" "" ""]`
	}},
	{"null and wrong types are absent", `{` + stamp + `,"eventID":null,"eventName":1,"eventSource":true,"awsRegion":["x"],"sourceIPAddress":{"x":"y"},"userIdentity":null,"requestParameters":["roleArn"]}`, func(e *Event) (any, any) {
		return dump(e, e.requestParameters, nil), `["" "" "" "" "" "" "" "" "1.08" "" "" "2026-03-01T10:00:00Z" "" "" "" "" "" "" "" ""]`
	}},
	{"the last of equal names", `{` + stamp + `,"eventID":"a","eventID":"b"}`, func(e *Event) (any, any) { return e.ID, "b" }},
	{"the last of equal names is null", `{` + stamp + `,"eventID":"a","eventID":null}`, func(e *Event) (any, any) { return e.ID, "" }},
	{"the last userIdentity as a whole", `{` + stamp + `,"userIdentity":{"arn":"a","type":"t"},"userIdentity":{"type":"u"}}`, func(e *Event) (any, any) { return e.Identity, Identity{Type: "u"} }},
	{"the last sessionContext as a whole", `{` + stamp + `,"userIdentity":{"sessionContext":{"sessionIssuer":{"arn":"a"}},"sessionContext":7}}`, func(e *Event) (any, any) { return e.Identity, Identity{} }},
	{"names are compared exactly", `{` + stamp + `,"EventID":"a","eventid":"b"}`, func(e *Event) (any, any) { return e.ID, "" }},
	{"names may be escaped", `{` + stamp + `,"event\u0049D":"a"}`, func(e *Event) (any, any) { return e.ID, "a" }},
	{"fields of other objects", `{` + stamp + `,"responseElements":{"eventID":"x","userIdentity":{"arn":"x"}},"resources":[{"arn":"x","eventName":"x"}],"userIdentity":{"x":{"arn":"x"},"sessionContext":{"arn":"x","attributes":{"arn":"x"}}}}`, func(e *Event) (any, any) {
		return e.ID + e.Name + e.Identity.ARN + e.Identity.IssuerARN, ""
	}},
	{"fields behind other objects", `{"a":{"b":[{"c":[]},[[]]]},"userIdentity":{"x":[{}],"sessionContext":{"y":{},"sessionIssuer":{"z":{},"arn":"i"},"w":[]},"arn":"a"},"eventID":"id",` + stamp + `}`, func(e *Event) (any, any) {
		return e.ID + e.Identity.ARN + e.Identity.IssuerARN, "idai"
	}},
	{"escapes", `{` + stamp + `,"errorMessage":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"}`, func(e *Event) (any, any) { return e.ErrorMessage, "\"\\/\b\f\n\r\té😀" }},
	{"lone surrogates", `{` + stamp + `,"errorMessage":"\ud83dx\ude00\ud83d\u0041\ud83d\ud83d\ude00"}`, func(e *Event) (any, any) { return e.ErrorMessage, "\uFFFDx\uFFFD\uFFFDA\uFFFD😀" }},
	{"invalid UTF-8", `{` + stamp + `,"errorMessage":"é` + "\xff\xfe\xe2\x82" + `"}`, func(e *Event) (any, any) { return e.ErrorMessage, "é\uFFFD\uFFFD\uFFFD\uFFFD" }},
	{"several strings that were not plain", `{` + stamp + `,"eventID":"\n1","eventName":"\n2","awsRegion":"\n3"}`, func(e *Event) (any, any) { return e.ID + e.Name + e.Region, "\n1\n2\n3" }},
	{"Raw", "\n {" + stamp + "}\n", func(e *Event) (any, any) { return string(e.Raw), "{" + stamp + "}" }},

	{"RequestParameter", `{` + stamp + `,"requestParameters":{"a":{"roleArn":"x"},"roleArn" : "arn","b":1}}`, func(e *Event) (any, any) { return e.RequestParameter("roleArn"), "arn" }},
	{"RequestParameter, escaped", `{` + stamp + `,"requestParameters":{"role\u0041rn":"\u0061\ud800"}}`, func(e *Event) (any, any) { return e.RequestParameter("roleArn"), "a\uFFFD" }},
	{"RequestParameter, the last one", `{` + stamp + `,"requestParameters":{"roleArn":"a","roleArn":"b"}}`, func(e *Event) (any, any) { return e.RequestParameter("roleArn"), "b" }},
	{"RequestParameter, the last one is no string", `{` + stamp + `,"requestParameters":{"roleArn":"a","roleArn":1}}`, func(e *Event) (any, any) { return e.RequestParameter("roleArn"), "" }},
	{"RequestParameter of the last requestParameters", `{` + stamp + `,"requestParameters":{"roleArn":"a"},"requestParameters":null}`, func(e *Event) (any, any) { return e.RequestParameter("roleArn"), "" }},
	{"RequestParameter of a string that holds an object", `{` + stamp + `,"requestParameters":" {\"roleArn\":\"a\",\"role\\u0041rn\":\"\\u0062\\\"\"} "}`, func(e *Event) (any, any) { return e.RequestParameter("roleArn"), `b"` }},
	{"RequestParameter of a plain string", `{` + stamp + `,"requestParameters":"roleArn"}`, func(e *Event) (any, any) { return e.RequestParameter("roleArn"), "" }},
	{"RequestParameter of a string that holds part of an object", `{` + stamp + `,"requestParameters":"{\"roleArn\":\"a\""}`, func(e *Event) (any, any) { return e.RequestParameter("roleArn"), "" }},
	{"RequestParameter of a string that holds a string that holds an object", `{` + stamp + `,"requestParameters":"\"{\\\"roleArn\\\":\\\"a\\\"}\""}`, func(e *Event) (any, any) { return e.RequestParameter("roleArn"), "" }},
}

func TestEventFields(t *testing.T) {
	for _, c := range fieldCases {
		t.Run(c.name, func(t *testing.T) {
			Decode([]byte(c.event), func(e *Event, err error) bool {
				if err != nil {
					t.Fatalf("Decode(%q): %v", c.event, err)
				}
				if got, want := c.check(e); got != want {
					t.Errorf("Decode(%q)\n     = %v\nwant %v", c.event, got, want)
				}
				return true
			})
		})
	}
}

func TestEventLookup(t *testing.T) {
	event := `{` + stamp + `,"a" : { "b" : "x", "b":"y" }, "c":[ 1 , {"d":"z"},"w"],"e":7,"f":{},"é\n":"u","s":"{\"a\":[{\"b\":\"v\"}]}"}`
	Decode([]byte(event), func(e *Event, err error) bool {
		for _, c := range []struct {
			path []string
			want string
			ok   bool
		}{
			{[]string{"eventVersion"}, "1.08", true},
			{[]string{"a", "b"}, "y", true},
			{[]string{"c", "1", "d"}, "z", true},
			{[]string{"c", "2"}, "w", true},
			{[]string{"é\n"}, "u", true},
			{[]string{"s", "a", "0", "b"}, "v", true},
			{[]string{"s", "a", "0"}, "", false},
			{[]string{"s", "b"}, "", false},
			{[]string{"c", "0"}, "", false},
			{[]string{"c", "3"}, "", false},
			{[]string{"c", "-1"}, "", false},
			{[]string{"c", "d"}, "", false},
			{[]string{"a"}, "", false},
			{[]string{"a", "b", "c"}, "", false},
			{[]string{"e"}, "", false},
			{[]string{"f", "x"}, "", false},
			{[]string{"x"}, "", false},
			{nil, "", false},
		} {
			if got, ok := e.Lookup(c.path...); got != c.want || ok != c.ok {
				t.Errorf("Lookup(%q) = %q, %v; want %q, %v", c.path, got, ok, c.want, c.ok)
			}
		}
		return true
	})
}

func TestEventLookupScalar(t *testing.T) {
	e := Event{Raw: []byte(`{"a": true ,"b":{"c": -1.5e3},"d":"x","e":null,"f":[false,0],"g":{},"s":"{\"a\":12}"}`)}
	for _, c := range []struct {
		path []string
		want string
		ok   bool
	}{
		{[]string{"a"}, "true", true},
		{[]string{"b", "c"}, "-1.5e3", true},
		{[]string{"d"}, "x", true},
		{[]string{"f", "0"}, "false", true},
		{[]string{"f", "1"}, "0", true},
		{[]string{"s", "a"}, "12", true},
		{[]string{"e"}, "", false},
		{[]string{"f"}, "", false},
		{[]string{"g"}, "", false},
		{[]string{"x"}, "", false},
		{nil, "", false},
	} {
		if got, ok := e.LookupScalar(c.path...); got != c.want || ok != c.ok {
			t.Errorf("LookupScalar(%q) = %q, %v; want %q, %v", c.path, got, ok, c.want, c.ok)
		}
	}
}

// TestEventLookupDamaged looks into bytes that never went through Decode.
func TestEventLookupDamaged(t *testing.T) {
	whole := `{"a":{"b":["x",{"c":"y"}]}}`
	for n := range whole {
		e := Event{Raw: []byte(whole[:n]), requestParameters: []byte(whole[:n])}
		if got, ok := e.Lookup("a", "b", "1", "c"); ok {
			t.Errorf("Lookup in %q = %q; want nothing", whole[:n], got)
		}
		if got := e.RequestParameter("a"); got != "" {
			t.Errorf("RequestParameter in %q = %q; want nothing", whole[:n], got)
		}
	}
}

// TestEventAliases shows that plain strings are not copied, and others are not
// left in the record.
func TestEventAliases(t *testing.T) {
	record := []byte(`{` + stamp + `,"eventID":"plain","eventName":"é","awsRegion":"\n"}`)
	within := func(s string) bool {
		p, start := uintptr(unsafe.Pointer(unsafe.StringData(s))), uintptr(unsafe.Pointer(&record[0]))
		return p >= start && p < start+uintptr(len(record))
	}
	Decode(record, func(e *Event, err error) bool {
		if !within(e.ID) || !within(e.Name) || within(e.Region) {
			t.Errorf("strings of %q within the record: %v, %v, %v; want true, true, false", record, within(e.ID), within(e.Name), within(e.Region))
		}
		return true
	})
}

func TestDecodeAllocatesNothing(t *testing.T) {
	for _, record := range []string{
		bare("a"),
		`{"eventName":"\u00e9",` + bare("a")[1:],
		`{"Records":[` + bare("a") + `,` + bare("b") + `]}`,
		wrapped(bare("a"), 2),
		zipped(bare("a") + bare("b")),
	} {
		var d Decoder
		b := []byte(record)
		yield := func(*Event, error) bool { return true }
		d.Decode(b, yield)
		if got := testing.AllocsPerRun(100, func() { d.Decode(b, yield) }); got != 0 {
			t.Errorf("Decode(%q) allocates %v times; want 0", record, got)
		}
	}
}
