package match_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"trailhound/rules/cloudtrail"
	"trailhound/rules/match"
)

func TestWitness(t *testing.T) {
	for where, want := range map[string]string{
		`eventName: CreateUser`:                                           "eventName is CREATEUSER",
		`eventName: [b, a, B]`:                                            "eventName is A, B",
		`{eventSource: s3.amazonaws.com, eventName: [a, b]}`:              "eventName is A, B",
		`{eventSource: iam.amazonaws.com, eventName: 'Create*'}`:          "eventSource is IAM.AMAZONAWS.COM",
		`eventName: ['Create*', DeleteUser]`:                              "eventName begins with CREATE, DELETEUSER",
		`eventName|contains: x`:                                           "every event",
		`eventName: [a, null]`:                                            "every event",
		`eventName|neq: a`:                                                "every event",
		`not: {eventName: a}`:                                             "every event",
		`[{eventName: a}, {eventName: b, mfa: true}]`:                     "eventName is A, B",
		`[{eventName: a}, {mfa: true}]`:                                   "every event",
		`eventName|contains|all: [a, b]`:                                  "every event",
		`{s: {eventName: a}, f: {eventName: b}, condition: s and not f}`:  "eventName is A",
		`{s1: {eventName: a}, s2: {eventName: 'b*'}, condition: 1 of s*}`: "eventName begins with A, B",
		`{eventName: [a, b, c], not: {mfa: true}, eventName|cased: a}`:    "eventName is A",
	} {
		x, _, err := parse(t, where, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := x.Witness().String(); got != want {
			t.Errorf("%s: %s; want %s", where, got, want)
		}
	}
}

// manyRules are n expressions as public rules have them: an exact eventName, mostly with its
// source, and a filter; then come more.
func manyRules(t testing.TB, n int, more ...string) *match.Index {
	var exprs []*match.Expr
	for i := range n {
		x, _, err := parse(t, fmt.Sprintf(`{eventSource: iam.amazonaws.com, eventName: [Delete%dThing, Put%dThing], not: {errorCode|contains: x}}`, i, i), nil)
		if err != nil {
			t.Fatal(err)
		}
		exprs = append(exprs, x)
	}
	for _, where := range more {
		x, _, err := parse(t, where, nil)
		if err != nil {
			t.Fatal(err)
		}
		exprs = append(exprs, x)
	}
	return match.NewIndex(exprs)
}

func TestIndexAllocatesNothing(t *testing.T) {
	ix := manyRules(t, 100)
	var s match.Scratch
	e := &cloudtrail.Event{Raw: []byte(event), Name: "put42THING", Source: "iam.amazonaws.com"}
	if got := ix.Match(e, &s); !slices.Equal(got, []int{42}) {
		t.Fatal(got)
	}
	if n := testing.AllocsPerRun(100, func() { ix.Match(e, &s) }); n != 0 {
		t.Errorf("%v allocations an event", n)
	}
}

// A value that begins like one that is looked for is not taken for it, however long it is.
func TestIndexLongValues(t *testing.T) {
	x, _, err := parse(t, `eventName: abc`, nil)
	if err != nil {
		t.Fatal(err)
	}
	ix := match.NewIndex([]*match.Expr{x})
	var s match.Scratch
	for _, name := range []string{"abc", "abcd", "abc" + strings.Repeat("d", 100), strings.Repeat("\u212a", 100), "ab"} {
		if got := len(ix.Match(&cloudtrail.Event{Name: name}, &s)) == 1; got != (name == "abc") {
			t.Errorf("%q: %t", name, got)
		}
	}
}

// The cost of an event that no rule looks for has to stay the same with many rules.
func BenchmarkIndexNone(b *testing.B) {
	for _, n := range []int{2, 57, 800} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			ix := manyRules(b, n, `errorCode: [AccessDenied, Client.UnauthorizedOperation]`)
			var s match.Scratch
			e := &cloudtrail.Event{Raw: []byte(event), Name: "DescribeInstances", Source: "ec2.amazonaws.com"}
			b.ReportAllocs()
			for b.Loop() {
				if len(ix.Match(e, &s)) != 0 {
					b.Fatal("an event that no rule looks for was matched")
				}
			}
		})
	}
}

// One event with large arrays and texts must not keep memory for as long as the process runs.
func TestScratchForgetsWhatWasLarge(t *testing.T) {
	x, _, err := parse(t, `{a|contains: "b?c", d: e}`, nil)
	if err != nil {
		t.Fatal(err)
	}
	ix := match.NewIndex([]*match.Expr{x})
	var s match.Scratch
	large := `{"a":["` + strings.Repeat("bc", 1<<20) + `"` + strings.Repeat(`,"x"`, 1<<16) + `]}`
	ix.Match(&cloudtrail.Event{Raw: []byte(large)}, &s)
	ix.Match(&cloudtrail.Event{Raw: []byte(`{"a":"bxc"}`)}, &s)
	if values, text := s.Kept(); values > 1<<10 || text > 64<<10 {
		t.Errorf("%d values and %d bytes of text are kept", values, text)
	}
}
