package match_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"

	"trailhound/rules/cloudtrail"
	"trailhound/rules/match"
)

var (
	listsOfTests = map[string][]string{"names": {"GetObject", "root"}, "sources": {"s3.amazonaws.com", "kms", "AccessDenied"}, "none": {}}

	pathsOfTests = []string{
		"eventName", "eventName", "eventName", "eventSource", "errorCode", "errorMessage", "awsRegion", "sourceIPAddress", "eventTime", "userAgent",
		"recipientAccountId", "eventVersion", "eventType", "eventCategory", "eventID", "userIdentity.principalId", "userIdentity.accountId", "userIdentity.invokedBy", "userIdentity.type", "userIdentity.arn", "userIdentity.sessionContext.sessionIssuer.arn", "userIdentity",
		"requestParameters.bucketName", "requestParameters.maxKeys", "requestParameters", "requestParameters.tags.0.key", "requestParameters.tags.key",
		"resources.ARN", "resources.0.ARN", "resources.1", "resources", "responseElements", "readOnly", "additionalEventData.x.y",
	}
	// Values hit often because there are few of them, and events and rules have the same.
	textsOfTests = []string{
		"GetObject", "GetObjectAcl", "getobject", "PutObject", "s3.amazonaws.com", "kms.amazonaws.com", "AccessDenied", "Client.UnauthorizedOperation",
		"root", "AWSService", "1.08", strings.Repeat("GetObject\u212A", 40), "arn:aws:iam::123456789012:role/Admin", "us-east-1", "10.1.2.3", "::ffff:10.1.2.3", "fe80::1%eth0", "2001:db8::1", "", " ",
		"a", "k", "\u212A", "\u212Ams", "ſ3", "ß", "ẞ", "σς", "É", "a\nb", "a*b", "a?b", `a\b`, `a\\b`, `\`, `\*`, "--region x", "tool -f /g", "tool –f /g", "a-b/c",
		"true", "1", "1.0", "-3.5e1", "007", "null", "2025-01-01T01:30:00+02:00", "2024-12-31T23:30:00Z", "2024-12-31 23:30:00",
		"eHg6Um9vdA==", "cm9vdA==", "xxcm9vdAxx", "cgBvAG8AdAA=", `{"a":"b"}`, `"quoted"`, "日本",
	}
	numbersOfTests  = []string{"0", "1", "2", "12", "23", "30", "31", "-35", "1.0", "1.5", "2024", "1e2"}
	patternsOfTests = []string{"^Get", "object$", "^a.b$", "(?i)ROOT", "^$", "k", "[0-9]+", "^b", `\.`}
	networksOfTests = []string{"10.0.0.0/8", "10.1.2.3/32", "10.1.2.99/24", "192.168.0.0/16", "2001:db8::/32", "0.0.0.0/0", "::/0"}
	selectionNames  = []string{"sel_a", "sel_b", "filter_x", "_hidden_1", "_hidden_2"}
)

func pick[T any](t *rapid.T, what string, from []T) T { return rapid.SampledFrom(from).Draw(t, what) }

func chance(t *rapid.T, of int) bool { return rapid.IntRange(1, of).Draw(t, "chance") == of }

// anyText draws a text, and often one that differs from others in its case or is part of one.
func anyText(t *rapid.T) string {
	s := pick(t, "text", textsOfTests)
	switch rapid.IntRange(0, 9).Draw(t, "form") {
	case 0:
		return strings.ToUpper(s)
	case 1:
		return strings.ToLower(s)
	case 2, 3:
		if r := []rune(s); len(r) > 1 {
			i := rapid.IntRange(0, len(r)-1).Draw(t, "from")
			return string(r[i:rapid.IntRange(i, len(r)).Draw(t, "to")])
		}
	case 4:
		return s + pick(t, "second", textsOfTests)
	}
	return s
}

// anyPattern draws a text that may have wildcards in the place of some of its runes.
func anyPattern(t *rapid.T) string {
	r := []rune(anyText(t))
	for range rapid.IntRange(0, 2).Draw(t, "wildcards") {
		if chance(t, 2) {
			i := rapid.IntRange(0, len(r)).Draw(t, "at")
			in := pick(t, "wildcard", []string{"*", "*", "**", "?", `\*`, `\?`, `\\`, `\`})
			r = slices.Concat(r[:i], []rune(in), r[min(i+rapid.IntRange(0, 2).Draw(t, "over"), len(r)):])
		}
	}
	return string(r)
}

// scalar quotes strings: yaml writes some that begin with a line end so that it cannot read them.
func scalar(value, tag string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value}
	if tag == "!!str" {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

func mapping(members ...*yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: members}
}

func sequence(elements []*yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Content: elements}
}

// listed draws one value, or a list of them.
func listed(t *rapid.T, one func() *yaml.Node) *yaml.Node {
	if chance(t, 2) {
		return one()
	}
	return several(t, one)
}

func several(t *rapid.T, one func() *yaml.Node) *yaml.Node {
	var all []*yaml.Node
	for range rapid.IntRange(1, 3).Draw(t, "values") {
		all = append(all, one())
	}
	return sequence(all)
}

// anyItem draws a member of a selection: the modifiers, and the values that go with them.
func anyItem(t *rapid.T) (mods string, values *yaml.Node) {
	text := func(from func(*rapid.T) string) func() *yaml.Node {
		return func() *yaml.Node { return scalar(from(t), "!!str") }
	}
	of := func(from []string, tag string) func() *yaml.Node {
		return func() *yaml.Node { return scalar(pick(t, "value", from), tag) }
	}
	switch rapid.IntRange(0, 13).Draw(t, "kind") {
	case 0:
		return "|exists", scalar(pick(t, "exists", []string{"true", "false"}), "!!bool")
	case 1:
		return pick(t, "neq", []string{"|neq", "|contains|neq", "|neq|startswith", "|cased|neq"}), listed(t, text(anyText))
	case 2:
		return pick(t, "re", []string{"|re", "|re|i", "|re|m", "|re|s", "|re|i|s"}), listed(t, of(patternsOfTests, "!!str"))
	case 3:
		return "|cidr", listed(t, of(networksOfTests, "!!str"))
	case 4:
		return pick(t, "order", []string{"|gt", "|gte", "|lt", "|lte", "|hour|gt", "|week|lte"}), listed(t, of(numbersOfTests, ""))
	case 5:
		return pick(t, "fieldref", []string{"|fieldref", "|fieldref|contains", "|fieldref|startswith", "|fieldref|endswith", "|fieldref|cased", "|fieldref|neq"}), listed(t, of(pathsOfTests, "!!str"))
	case 6:
		base := pick(t, "base64", []string{"|base64", "|base64offset", "|wide|base64", "|utf16le|base64offset", "|utf16be|base64offset", "|utf16|base64"})
		return base + "|contains", listed(t, of([]string{"root", "Root", "ro", "x:Root", "é"}, "!!str"))
	case 7:
		return pick(t, "windash", []string{"|windash", "|windash|contains", "|windash|contains|all"}), several(t, of([]string{"--region x", " -f", "/f", " /g", "a-b", "-f /g"}, "!!str"))
	case 8:
		return pick(t, "expand", []string{"|expand", "|expand|startswith"}), listed(t, of([]string{"%names%", "%sources%", "plain"}, "!!str"))
	case 9:
		return "|" + pick(t, "part", []string{"minute", "hour", "day", "week", "month", "year"}), listed(t, of([]string{"1", "12", "23", "30", "31", "2024"}, "!!int"))
	case 10:
		return "", listed(t, func() *yaml.Node {
			return pick(t, "other", []*yaml.Node{scalar("null", "!!null"), scalar("true", "!!bool"), scalar("1", "!!int"), scalar("1.0", "!!float"), scalar("", "!!str"), scalar("*", "!!str")})
		})
	case 11:
		return pick(t, "all", []string{"|contains|all", "|all|contains", "|startswith|all", "|all", "|contains|cased"}), several(t, text(anyPattern))
	case 12:
		return pick(t, "mods", []string{"|contains", "|startswith", "|endswith", "|cased", "|startswith|cased", "|cased|endswith"}), listed(t, text(anyPattern))
	}
	return "", listed(t, text(anyPattern))
}

// anySelection draws a mapping of items, with not among them; or keywords, or a list of selections.
func anySelection(t *rapid.T, depth int) *yaml.Node {
	keyword := func() *yaml.Node { return scalar(anyPattern(t), "!!str") }
	switch rapid.IntRange(0, 11).Draw(t, "selection") {
	case 0:
		return several(t, keyword)
	case 1:
		return mapping(scalar(pick(t, "of keywords", []string{"|all", "|contains", "|cased", "|all|cased", "|neq"}), "!!str"), several(t, keyword))
	case 2:
		if depth > 0 {
			return several(t, func() *yaml.Node { return anyItems(t, depth-1) })
		}
	}
	return anyItems(t, depth)
}

func anyItems(t *rapid.T, depth int) *yaml.Node {
	n := mapping()
	for range rapid.IntRange(1, 3).Draw(t, "items") {
		mods, values := anyItem(t)
		name := pick(t, "path", pathsOfTests) + mods
		if memberOf(n, name) == nil {
			n.Content = append(n.Content, scalar(name, "!!str"), values)
		}
	}
	if depth > 0 && chance(t, 4) {
		n.Content = append(n.Content, scalar("not", "!!str"), anySelection(t, depth-1))
	}
	return n
}

// anyCondition draws a condition over the names, of which the first does not begin with _.
func anyCondition(t *rapid.T, names []string, depth int) string {
	if depth > 0 {
		switch rapid.IntRange(0, 4).Draw(t, "operator") {
		case 0:
			return "not " + anyCondition(t, names, depth-1)
		case 1:
			return "(" + anyCondition(t, names, depth-1) + ")"
		case 2:
			return anyCondition(t, names, depth-1) + " and " + anyCondition(t, names, depth-1)
		case 3:
			return anyCondition(t, names, depth-1) + " or " + anyCondition(t, names, depth-1)
		}
	}
	of := pick(t, "of", []string{"1 of ", "all of ", "any of "})
	switch rapid.IntRange(0, 3).Draw(t, "operand") {
	case 0:
		return of + "them"
	case 1:
		return of + pick(t, "name", names)[:2] + "*"
	}
	return pick(t, "name", names)
}

func anyWhere(t *rapid.T) *yaml.Node {
	if !chance(t, 3) {
		return anySelection(t, 2)
	}
	names := append([]string{"sel_a"}, rapid.SliceOfNDistinct(rapid.SampledFrom(selectionNames[1:]), 0, 3, rapid.ID[string]).Draw(t, "names")...)
	n := mapping()
	for _, name := range names {
		n.Content = append(n.Content, scalar(name, "!!str"), anySelection(t, 1))
	}
	condition := func() *yaml.Node { return scalar(anyCondition(t, names, 3), "!!str") }
	n.Content = append(n.Content, scalar("condition", "!!str"), condition())
	if chance(t, 4) {
		n.Content[len(n.Content)-1] = several(t, condition)
	}
	return n
}

// anyJSON draws a value of any kind.
func anyJSON(t *rapid.T, depth int) string {
	kind := rapid.IntRange(0, 11).Draw(t, "kind of value")
	switch {
	case kind == 0:
		return "null"
	case kind == 1:
		return pick(t, "boolean", []string{"true", "false"})
	case kind == 2:
		return pick(t, "number", numbersOfTests)
	case kind == 3 && depth > 0:
		var all []string
		for range rapid.IntRange(0, 3).Draw(t, "elements") {
			all = append(all, anyJSON(t, depth-1))
		}
		return "[" + strings.Join(all, ", ") + "]"
	case kind == 4 && depth > 0:
		return anyObject(t, []string{"type", "arn", "ARN", "bucketName", "maxKeys", "tags", "key", "0", "x", "y"}, depth-1)
	case kind == 5 && depth > 0:
		return quotedJSON(anyObject(t, []string{"type", "arn", "ARN", "bucketName", "tags", "x"}, depth-1))
	}
	return quotedJSON(anyText(t))
}

// quotedJSON writes a string, now and then with an escape in the place of its first rune.
func quotedJSON(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteString(`\` + string(r))
		case r < ' ' || i == 0 && r < 0x80 && len(s)%3 == 0:
			b.WriteString(`\u00` + strconv.FormatInt(int64(r)+0x100, 16)[1:])
		default:
			b.WriteRune(r)
		}
	}
	return b.String() + `"`
}

// anyObject draws an object; the same name may come twice.
func anyObject(t *rapid.T, names []string, depth int) string {
	var all []string
	for range rapid.IntRange(0, 4).Draw(t, "members") {
		all = append(all, quotedJSON(pick(t, "name", names))+":"+anyJSON(t, depth))
	}
	return "{" + strings.Join(all, ",") + "}"
}

// member is a field that a rule names, and a value that it asks for there.
type member struct{ path, value string }

func membersAsked(n *yaml.Node, path string) (all []member) {
	if n.Kind == yaml.ScalarNode && slices.Contains(pathsOfTests, path) {
		return []member{{path, n.Value}}
	}
	for i, in := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			path, _, _ = strings.Cut(in.Value, "|")
			continue
		}
		all = append(all, membersAsked(in, path)...)
	}
	return all
}

// askedJSON writes the value, or one that is the same but for case, or has more around it.
func askedJSON(t *rapid.T, m member) string {
	s := m.value
	if strings.Contains(s, "/") && chance(t, 2) {
		s = pick(t, "address", []string{"10.1.2.3", "::ffff:10.1.2.3", "::ffff:a01:203", "2001:db8::1", "10.1.2.3/8"})
	}
	switch rapid.IntRange(0, 5).Draw(t, "change") {
	case 0:
		s = strings.ToUpper(s)
	case 1:
		s = strings.NewReplacer("k", "\u212A", "K", "k", "s", "ſ", "S", "ſ", "σ", "ς").Replace(s)
	case 2:
		s = pick(t, "before", textsOfTests) + s
	case 3:
		s += pick(t, "behind", textsOfTests)
	case 4:
		s = strings.NewReplacer("*", "any\n", "?", "é").Replace(s)
	}
	if jsonNumber.MatchString(s) && chance(t, 2) {
		return s
	}
	return quotedJSON(s)
}

// anyEvent draws an event that Decode accepts: odd in all members but its time and version.
// Half of its members have a value that a rule asks for, or nearly so.
func anyEvent(t *rapid.T, asked []member) string {
	all := []string{`"eventVersion":"1.08"`, `"eventTime":` + pick(t, "eventTime", []string{`"2024-12-31T23:30:00Z"`, `"2025-01-01T01:30:00+02:00"`})}
	for range rapid.IntRange(0, 9).Draw(t, "members") {
		path, v := pick(t, "name", pathsOfTests), ""
		if len(asked) > 0 && chance(t, 2) {
			m := pick(t, "asked", asked)
			path, v = m.path, askedJSON(t, m)
			if chance(t, 4) {
				v = "[" + v + "," + askedJSON(t, pick(t, "other", asked)) + "]"
			}
		} else {
			v = anyJSON(t, 3)
		}
		name := strings.Split(path, ".")
		if name[0] == "eventTime" || name[0] == "eventVersion" {
			continue
		}
		if len(name) > 1 && !chance(t, 4) {
			for _, in := range slices.Backward(name[1:]) {
				if _, err := strconv.Atoi(in); err == nil {
					v = "[" + v + "]"
				} else {
					v = "{" + quotedJSON(in) + ":" + v + "}"
				}
			}
			if chance(t, 3) {
				v = quotedJSON(v)
			}
		}
		i := rapid.IntRange(0, len(all)).Draw(t, "place")
		all = slices.Insert(all, i, quotedJSON(name[0])+": "+v)
	}
	return "{" + strings.Join(all, ",") + "}"
}

// written returns the selection as a rule file has it, and the nodes read from that.
func written(t rapid.TB, n *yaml.Node) (string, *yaml.Node) {
	text, err := yaml.Marshal(n)
	if err != nil {
		t.Fatalf("yaml.Marshal = %v", err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatalf("yaml.Unmarshal(%q) = %v", text, err)
	}
	return string(text), doc.Content[0]
}

// TestMatchIsReference: an expression matches where the reference does, and an index over
// many finds what a scan of them all finds. The events of one record share the decoder's
// Event, and all records one Scratch, so nothing may be remembered from one to the next.
func TestMatchIsReference(t *testing.T) {
	t.Parallel()
	var scratch match.Scratch
	var hits, misses int
	property := func(t *rapid.T) {
		var texts []string
		var nodes []*yaml.Node
		var exprs []*match.Expr
		var asked []member
		for range rapid.IntRange(1, 30).Draw(t, "expressions") {
			text, n := written(t, anyWhere(t))
			x, _, err := match.Parse(n, match.Options{Lists: listsOfTests})
			if err != nil {
				t.Fatalf("Parse of\n%s= %v; want no error", text, err)
			}
			asked = append(asked, membersAsked(n, "")...)
			texts, nodes, exprs = append(texts, text), append(nodes, n), append(exprs, x)
		}
		index := match.NewIndex(exprs)
		var events []string
		for range rapid.IntRange(1, 4).Draw(t, "events") {
			events = append(events, anyEvent(t, asked))
		}
		record := `{"Records":[` + strings.Join(events, ",") + `]}`
		seen := 0
		cloudtrail.Decode([]byte(record), func(e *cloudtrail.Event, err error) bool {
			if err != nil {
				t.Fatalf("Decode(%s) = %v; want events", record, err)
			}
			seen++
			v, ok := readJSON(string(e.Raw))
			if !ok {
				t.Fatalf("no JSON: %s", e.Raw)
			}
			var want []int
			for i, n := range nodes {
				ok := reference{listsOfTests}.where(n, v)
				if ok {
					want = append(want, i)
					hits++
				} else {
					misses++
				}
				if got := exprs[i].Match(e); got != ok {
					t.Fatalf("Match = %v; the reference says %v\nevent %s\nwhere\n%s", got, ok, e.Raw, texts[i])
				}
			}
			for _, e := range []*cloudtrail.Event{e, {Raw: e.Raw}} {
				if got := index.Match(e, &scratch); !slices.Equal(got, want) {
					t.Fatalf("Index.Match = %v; want %v\nevent %s\nwhere\n%s", got, want, e.Raw, strings.Join(texts, "---\n"))
				}
			}
			return true
		})
		if seen != len(events) {
			t.Fatalf("Decode(%s) made %d events of %d", record, seen, len(events))
		}
	}
	for range 5 { // a check is cheap, and the usual hundred of them few
		rapid.Check(t, property)
	}
	t.Logf("%d matches of %d", hits, hits+misses)
}

// FuzzParse: of any YAML, Parse makes an expression that can be asked, or an error that reads
// like a sentence.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"eventName: GetObject", "eventName|contains|all: [a, b]", "not: {errorCode: null}", "[a, b]", "[{a: b}, {c: d}]", "|all: [x]",
		"{sel: {a: b}, condition: 1 of sel* and not sel}", "{condition: x}", "{condition: [], x: 1}", "eventName|re: '('", "a|cidr: x", "a|gt: x",
		"a|expand: '%none%'", "a|base64offset|contains: x", "a|nonsense: x", "a: &x [1, *x]", "&a [*a]", "{<<: {a: b}}", "{? [a] : b}", "a: {b: c}",
		"a|: x", "'|': x", "{a: b, a: c}", "{not: {not: {not: []}}}", "a: !!binary x", "a: []", "{}", "[]", "null", "x", "{sel: {a: b}, condition: ((((sel}", "a..b: c",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var doc yaml.Node
		if yaml.Unmarshal(text, &doc) != nil || len(doc.Content) == 0 {
			return
		}
		x, warnings, err := match.Parse(doc.Content[0], match.Options{Lists: listsOfTests})
		if err != nil {
			if s := err.Error(); len(strings.Fields(s)) < 3 || strings.Contains(s, "%!") {
				t.Errorf("Parse(%q) = %q; want a sentence", text, s)
			}
			return
		}
		for _, w := range warnings {
			if w.Line < 1 || w.Text == "" {
				t.Errorf("Parse(%q) warns %+v; want a line and a text", text, w)
			}
		}
		index, scratch := match.NewIndex([]*match.Expr{x}), match.Scratch{}
		const record = `{"eventVersion":"1.08","eventTime":"2024-12-31T23:30:00Z","eventName":"GetObject","a":["b",{"b":"c"},null,1]}`
		cloudtrail.Decode([]byte(record), func(e *cloudtrail.Event, err error) bool {
			if err != nil {
				t.Fatal(err)
			}
			if one, all := x.Match(e), len(index.Match(e, &scratch)) == 1; one != all {
				t.Errorf("of %q: Match = %v, Index.Match = %v", text, one, all)
			}
			return true
		})
	})
}
