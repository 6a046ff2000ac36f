package main

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"trailhound/consumer/kafka/topic"
)

// Every ACL of acls.txt is needed: without it, or with Describe in its place if it implies
// Describe, its purpose fails with a sentence that names the operation and the resource;
// with all of them, it succeeds.
func TestACLs(t *testing.T) {
	c := newSecureCluster(t) // not beside the tests that count the broker's refusals
	shared := c.lived(t)
	for purpose, app := range map[string]*topic.App{
		"run": nil, "topics-create": nil, "topics-alter": nil, "state-seed": nil,
		"ingest": &shared, "alerts": &shared, "replay": &shared, "explain": &shared, "dead-letters": &shared,
	} {
		acls := readACLs(t, purpose)
		for i := -1; i < len(acls); i++ {
			name := purpose + " with all"
			if i >= 0 {
				name = purpose + " without " + acls[i].String()
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				c.tryACLs(t, purpose, app, acls, i)
			})
		}
	}
}

// tryACLs runs the command of a purpose with all of its ACLs but one; lacking is -1: with
// all.
func (c *secureCluster) tryACLs(t *testing.T, purpose string, shared *topic.App, acls []acl, lacking int) {
	user := uniqueName()
	app := c.app(user)
	if shared != nil {
		app = *shared
	}
	admin := c.site(t, app, "admin")
	if shared == nil && purpose != "topics-create" {
		admin.must("", "topics", "create", "--input-partitions", "2")
		admin.ingest(denials(12))
	}
	if purpose == "topics-alter" {
		c.shrink(t, app.WorkTopic(), app.StateTopic(), app.Alerts, app.DeadLetter)
	}
	var granted []acl
	for i, a := range acls {
		a = a.of(app)
		if i == lacking {
			if !a.containsDescribe() {
				continue
			}
			a.operation = "Describe"
		}
		granted = append(granted, a)
	}
	c.grant(t, user, granted...)
	c.setPassword(t, user, "secret "+user)
	s := c.site(t, app, user)
	if lacking < 0 {
		s.doAllowed(purpose, admin)
		return
	}
	a := acls[lacking].of(app)
	if purpose == "run" {
		s.runDenied(a)
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if r := command(ctx, "", nil, append([]string{"--config", s.config}, s.commandFor(purpose, admin)...)...); r.code != exitFailed || !a.named(r.stderr) {
		t.Errorf("%s without %s = %d, %q; want 1 and a line that names it", purpose, a, r.code, r.stderr)
	}
}

// shrink gives topics a size limit that topics create --alter raises.
func (c *secureCluster) shrink(t *testing.T, topics ...string) {
	t.Helper()
	req, limit := kmsg.NewPtrIncrementalAlterConfigsRequest(), "2000"
	for _, name := range topics {
		res, setting := kmsg.NewIncrementalAlterConfigsRequestResource(), kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		setting.Name, setting.Value = "max.message.bytes", &limit
		res.ResourceType, res.ResourceName, res.Configs = kmsg.ConfigResourceTypeTopic, name, append(res.Configs, setting)
		req.Resources = append(req.Resources, res)
	}
	resp, err := req.RequestWith(t.Context(), c.admin)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range resp.Resources {
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			t.Fatalf("set max.message.bytes of %s: %v", r.ResourceName, err)
		}
	}
}

// containsDescribe says whether the operation implies Describe in Kafka.
func (a acl) containsDescribe() bool {
	return a.operation == "Read" || a.operation == "Write" || a.operation == "Delete"
}

// named says whether a line of the text reports this right as missing.
func (a acl) named(text string) bool {
	name := strings.TrimSuffix(a.name, "*")
	return slices.ContainsFunc(lines(text), func(line string) bool {
		return strings.Contains(line, "uthoriz") && strings.Contains(line, name) &&
			strings.Contains(line, a.operation)
	})
}

// lived returns an app that has read input for an alert, and a record that is no event.
func (c *secureCluster) lived(t *testing.T) topic.App {
	app := c.app(uniqueName())
	admin := c.site(t, app, "admin")
	admin.must("", "topics", "create", "--input-partitions", "2")
	admin.ingest(denials(12))
	if err := c.admin.ProduceSync(t.Context(), &kgo.Record{Topic: app.Inputs[0], Value: []byte("junk")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	p := admin.call("run")
	admin.await("an alert and a dead letter", func() bool {
		return admin.must("", "alerts", "--no-follow").stdout != "" && admin.must("", "dead-letters", "list").stdout != ""
	})
	if code := p.end(); code != exitDone {
		t.Fatalf("run = %d; want 0", code)
	}
	return app
}

// alertsSeen returns "rule eventID" of each alert, sorted, as the user sees them.
func (s *site) alertsSeen() []string {
	s.Helper()
	var got []string
	for _, alert := range lines(s.must("", "alerts", "--no-follow").stdout) {
		var a shownAlert
		if err := json.Unmarshal([]byte(alert), &a); err != nil {
			s.Fatal(err)
		}
		got = append(got, a.RuleID+" "+a.EventID)
	}
	slices.Sort(got)
	return got
}

// commandFor is the command line for a purpose.
func (s *site) commandFor(purpose string, admin *site) []string {
	switch purpose {
	case "topics-create":
		return []string{"topics", "create", "--input-partitions", "1"}
	case "topics-alter":
		return []string{"topics", "create", "--alter"}
	case "ingest":
		return []string{"ingest", "../../cmd/trailhound/sample/cloudtrail.jsonl"}
	case "alerts":
		return []string{"alerts", "--no-follow"}
	case "replay":
		return []string{"replay"}
	case "explain":
		var a struct{ ID string }
		if err := json.Unmarshal([]byte(lines(admin.must("", "alerts", "--no-follow").stdout)[0]), &a); err != nil {
			s.Fatal(err)
		}
		return []string{"explain", a.ID}
	case "dead-letters":
		return []string{"dead-letters", "retry", "--again", "--force"}
	case "state-seed":
		return []string{"state", "seed", "--inputs"}
	}
	s.Fatalf("acls.txt has ACLs for %q, which this test does not know", purpose)
	return nil
}

// doAllowed runs the command of a purpose for a user with all its rights.
func (s *site) doAllowed(purpose string, admin *site) {
	s.Helper()
	if purpose != "run" {
		s.must("", s.commandFor(purpose, admin)...)
		return
	}
	p := s.call("run")
	s.await("the alert", func() bool { return admin.must("", "alerts", "--no-follow").stdout != "" })
	if code := p.end(); code != exitDone || p.stderr.has("not authorized") || p.stderr.has("uthorization") {
		s.Errorf("run = %d and says\n%s\nwant 0 and no word about rights", code, &p.stderr)
	}
}

// runDenied runs the service until it reports the missing right; it ends with 1 or goes on
// trying.
func (s *site) runDenied(a acl) {
	s.Helper()
	if err := s.admin.ProduceSync(s.Context(), &kgo.Record{Topic: s.app.Inputs[0], Value: []byte("junk")}).FirstErr(); err != nil {
		s.Fatal(err)
	}
	p := s.call("run")
	p.expectEnd()
	s.await("run to say that it lacks "+a.String(), func() bool { return a.named(p.stderr.String()) || p.over() })
	if !a.named(p.stderr.String()) {
		s.Errorf("run without %s ends with %d and says\n%s\nwant a line that names it", a, p.code, &p.stderr)
	}
	if p.over() {
		if p.code != exitFailed {
			s.Errorf("run without %s = %d; want 1", a, p.code)
		}
		return
	}
	if code := p.end(); code != exitDone {
		s.Errorf("run without %s = %d when it is interrupted; want 0", a, code)
	}
}

// The commands of deploy/security.md for run grant the rights of acls.txt.
func TestACLCommands(t *testing.T) {
	text, err := os.ReadFile("../../deploy/security.md")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, line := range lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "acl" || f[1] != "--operation" {
			continue
		}
		var operations, resources []string
		prefix := ""
		for i, word := range f {
			switch word {
			case "--operation":
				operations = append(operations, f[i+1])
			case "--group", "--topic", "--transactional-id":
				resources = append(resources, word[2:]+" "+f[i+1])
			case "prefixed":
				prefix = "*"
			}
		}
		for _, o := range operations {
			for _, r := range resources {
				got = append(got, o+" on "+r+prefix)
			}
		}
	}
	names := strings.NewReplacer("INPUT", "cloudtrail", "ALERTS", "alerts", "DEAD-LETTER", "cloudtrail-dead-letter")
	var want []string
	for _, a := range readACLs(t, "run") {
		want = append(want, names.Replace(a.String()))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("deploy/security.md grants %q; want %q, as acls.txt has it", got, want)
	}
}
