package main

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// acls print gives the rights of acls.txt, with the names of the configuration: every line
// of acls.txt has a known name.
func TestACLsArePrinted(t *testing.T) {
	app := &app{set: []string{"app_id=a", "topics.input=[in]", "topics.alerts=out", "topics.dead_letter=dead"}}
	s, err := app.setup()
	if err != nil {
		t.Fatal(err)
	}
	for _, purpose := range purposes {
		var want []right
		for _, a := range readACLs(t, purpose) {
			a = a.of(s.topology())
			want = append(want, right{a.operation, a.resource, a.name})
		}
		if got := s.rights(purpose); !slices.Equal(got, want) {
			t.Errorf("rights(%q) = %v; want %v", purpose, got, want)
		}
	}
	if got, want := strings.Join(purposes, " "), "run topics-create topics-alter ingest alerts replay explain dead-letters state-seed"; got != want {
		t.Errorf("acls.txt is about %q; want %q", got, want)
	}
	r := command(t.Context(), "", nil, "acls", "print", "--set", "kafka.brokers=[a:1,'[::1]:2']", "--set", "kafka.sasl.mechanism=plain", "--set", "kafka.sasl.username=it's", "--set", "kafka.sasl.password=p", "--set", "topics.input=[x, y]", "--command-config", "admin.properties")
	got := lines(r.stdout)
	if r.code != exitDone || r.stderr != "" || len(got) != 8 {
		t.Fatalf("acls print = %d, %q, %q; want 0 and a command for each of 8 resources", r.code, r.stdout, r.stderr)
	}
	for _, want := range []string{
		`kafka-acls.sh --bootstrap-server a:1,[::1]:2 --command-config admin.properties --add --allow-principal 'User:it'\''s' --operation Read --group trailhound`,
		`kafka-acls.sh --bootstrap-server a:1,[::1]:2 --command-config admin.properties --add --allow-principal 'User:it'\''s' --operation Write --transactional-id trailhound. --resource-pattern-type prefixed`,
		`kafka-acls.sh --bootstrap-server a:1,[::1]:2 --command-config admin.properties --add --allow-principal 'User:it'\''s' --operation Read --operation Write --operation Delete --operation DescribeConfigs --topic trailhound.work`,
	} {
		if !slices.Contains(got, want) {
			t.Errorf("acls print = %q; want among it %q", got, want)
		}
	}
	if r := command(t.Context(), "", nil, "acls", "print", "alerts", "ingest", "--user", "reader"); r.code != exitDone || len(lines(r.stdout)) != 2 || strings.Count(r.stdout, "--allow-principal User:reader ") != 2 {
		t.Errorf("acls print alerts ingest --user reader = %d, %q, %q; want 0 and two commands for it", r.code, r.stdout, r.stderr)
	}
	j := decoded[struct {
		Principal string
		Rights    []map[string]string
		Commands  []string
	}](t, command(t.Context(), "", nil, "acls", "print", "--json", "--user", "reader"))
	want := map[string]string{"operation": "Write", "resource_type": "transactional-id", "name": "trailhound.", "pattern": "prefixed"}
	if j.Principal != "User:reader" || len(j.Rights) != len(acls["run"]) || len(j.Commands) != 7 || !reflect.DeepEqual(j.Rights[1], want) {
		t.Errorf("acls print --json = %+v; want the rights, the second of them %v, and 7 commands", j, want)
	}
	if r := command(t.Context(), "", nil, "acls", "print", "reading"); r.code != exitUsage || !strings.Contains(r.stderr, "there are run, topics-create, ") {
		t.Errorf("acls print reading = %d, %q; want 2 and the purposes", r.code, r.stderr)
	}
}

// A start that lacks several rights names them all, with the commands for its account.
func TestAllMissingRights(t *testing.T) {
	cluster := fakeCluster(t)
	s := newSite(t, cluster.ListenAddrs(), 1)
	s.must("", "topics", "create")
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Err: kerr.TopicAuthorizationFailed, Count: -1})
	read, describe := int32(1<<3|1<<8), int32(1<<8)
	cluster.ControlKey(int16(kmsg.Metadata), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		asked := req.(*kmsg.MetadataRequest)
		if !asked.IncludeTopicAuthorizedOperations {
			return nil, nil, false
		}
		res := asked.ResponseKind().(*kmsg.MetadataResponse)
		for _, about := range asked.Topics {
			topic := kmsg.NewMetadataResponseTopic()
			topic.Topic, topic.AuthorizedOperations = about.Topic, describe
			switch *about.Topic {
			case s.app.Inputs[0]:
				topic.AuthorizedOperations = read
			case s.app.Alerts:
				topic.ErrorCode = kerr.TopicAuthorizationFailed.Code
			}
			res.Topics = append(res.Topics, topic)
		}
		return res, nil, true
	})
	for _, args := range [][]string{{"run"}, {"topics", "check"}} {
		r := s.command("", args...)
		for _, want := range []string{
			"not authorized: DescribeConfigs on topic " + s.app.Inputs[0], "not authorized: Write on topic " + s.app.Alerts,
			"not authorized: Delete on topic " + s.app.WorkTopic(), "not authorized: Read on topic " + s.app.StateTopic(),
			"kafka-acls.sh --bootstrap-server " + strings.Join(s.brokers, ",") + " --add --allow-principal User:NAME --operation Write --operation DescribeConfigs --topic " + s.app.Alerts,
		} {
			if !strings.Contains(r.stderr, want) {
				t.Errorf("%q = %d, %q; want %q", args, r.code, r.stderr, want)
			}
		}
		if r.code != exitFailed || strings.Contains(r.stderr, "Read on topic "+s.app.Inputs[0]+"\n") {
			t.Errorf("%q = %d, %q; want 1, and not the right that there is", args, r.code, r.stderr)
		}
	}
}
