package rules_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"

	"trailhound/rules"
	"trailhound/rules/cloudtrail"
	"trailhound/state"
)

// ConsoleLogins alerts when one address fails to log in as Max users.
type ConsoleLogins struct {
	Max int `param:"max,alert" help:"users that one address may fail to log in as"`
}

func (r *ConsoleLogins) Info() rules.Info {
	return rules.Info{
		ID:          "console_logins",
		Title:       "One address, many users",
		Description: "One address failed to log in to the console as several users, as when a password is tried on all of them.",
		GroupedBy:   "source address",
		Severity:    rules.SeverityHigh,
		Techniques:  []string{"T1110.003"},
	}
}

func (r *ConsoleLogins) Key(e *rules.Event) string {
	if e.Name != "ConsoleLogin" || e.ErrorMessage == "" {
		return ""
	}
	return e.SourceIP
}

func (r *ConsoleLogins) Evaluate(e *rules.Event, s *state.Scope) *rules.Finding {
	user, ok := e.Lookup("userIdentity", "userName")
	if !ok {
		return nil
	}
	users, _ := s.AddToStringSet("users", user)
	if users.Len() < r.Max {
		return nil
	}
	title := fmt.Sprintf("%s failed to log in as %d users", rules.Clip(e.SourceIP), users.Len())
	names := users.Members()
	s.ResetStringSet("users")
	return &rules.Finding{Title: title, Context: rules.Context{{Name: "users", Value: names}}}
}

func (r *ConsoleLogins) Resume(p *rules.Past, at func(state.Ref) *state.Scope) error {
	var context struct{ Users []string }
	if err := json.Unmarshal(p.Context, &context); err != nil || len(context.Users) == 0 {
		return errors.New("its context has no users")
	}
	p.From = len(p.Events) // the context is of the end: only the alert's event is evaluated
	last, _ := p.Event.Lookup("userIdentity", "userName")
	for _, user := range context.Users {
		if user != last {
			at(state.Ref{Time: p.Event.Time}).AddToStringSet("users", user)
		}
	}
	return nil
}

const consoleLoginsTest = `
rule: console_logins
parameters: {max: 3}
event: {eventName: ConsoleLogin, sourceIPAddress: 198.51.100.7, errorMessage: Failed authentication}
tests:
  - name: "fires: the third user, whoever came twice"
    steps:
      - event: {userIdentity: {userName: alice}}
        times: 2
        every: 10s
      - event: {userIdentity: {userName: bob}}
        expect: {set: {users: [alice, bob]}}
      - event: {userIdentity: {userName: carol}}
        alerts: {title: 198.51.100.7 failed to log in as 3 users, context: {users: [alice, bob, carol]}}
        expect: {set: {users: []}}
  - name: "not yet: one that is wrong"
    steps:
      - event: {userIdentity: {userName: alice}}
        alerts: 1
`

// A test of the rule, as trailhound rules test runs it.
func Example_test() {
	known := rules.Spec{ID: "console_logins", New: func() rules.Rule { return &ConsoleLogins{Max: 5} }}
	file, err := suite(known).Read("console_logins_test.yaml", []byte(consoleLoginsTest))
	if err != nil {
		panic(err)
	}
	for _, test := range file.Tests {
		failure, err := test.Run(context.Background())
		if err != nil {
			panic(err)
		}
		fmt.Println(test.Name)
		if failure != nil {
			fmt.Println(failure)
		}
	}
	// Output:
	// fires: the third user, whoever came twice
	// not yet: one that is wrong
	// step 1, line 18:
	//   alerts: got none; want 1
	// what came of its events:
	//   2026-03-01T10:00:00Z  evaluated  key 198.51.100.7
	// state of the rule after it:
	//   key 198.51.100.7
	//     set users = ["alice"], 1 member, written at 0s, expires at 2160h
}

// The engine with a rule of one's own, on real state in memory and events as CloudTrail
// writes them.
func Example() {
	store, err := state.Open(state.Options{Dir: "state", FS: vfs.NewMem()})
	if err != nil {
		panic(err)
	}
	defer store.Close()
	shard, err := store.Shard(0)
	if err != nil {
		panic(err)
	}
	tx := shard.Begin()
	defer tx.Discard()

	engine, err := rules.NewEngine([]rules.Active{{Rule: &ConsoleLogins{Max: 3}}}, rules.Limits{})
	if err != nil {
		panic(err)
	}
	for i, user := range []string{"alice", "bob", "alice", "carol"} {
		record := fmt.Sprintf(`{"eventVersion":"1.11","eventName":"ConsoleLogin","eventTime":"2026-03-01T10:00:0%dZ",
			"sourceIPAddress":"198.51.100.7","errorMessage":"Failed authentication","userIdentity":{"userName":%q}}`, i, user)
		cloudtrail.Decode([]byte(record), func(ev *rules.Event, err error) bool {
			if err != nil {
				panic(err)
			}
			matches, _ := engine.Match(ev, nil)
			for _, alert := range engine.Evaluate(ev, matches, tx).Alerts {
				var a struct {
					Title   string
					Context json.RawMessage
				}
				if err := json.Unmarshal(alert.Payload, &a); err != nil {
					panic(err)
				}
				fmt.Printf("%s: %s %s\n", user, a.Title, a.Context)
			}
			return true
		})
	}
	// Output:
	// carol: 198.51.100.7 failed to log in as 3 users {"users":["alice","bob","carol"]}
}
