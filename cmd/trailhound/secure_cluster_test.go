package main

import (
	"crypto/pbkdf2"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"trailhound/consumer/kafka/topic"
)

// secureEnv names the directory of a cluster that was started with deploy/kafka/kafka.sh start -s.
const secureEnv = "TRAILHOUND_TEST_SECURE"

// secureCluster is a real cluster with TLS, accounts and ACLs.
type secureCluster struct {
	dir     string
	brokers []string // for SASL
	mtls    []string // for client certificates
	admin   *kgo.Client
}

func newSecureCluster(t *testing.T) *secureCluster {
	t.Helper()
	dir := os.Getenv(secureEnv)
	if dir == "" {
		t.Skip("no secured Kafka: start one with deploy/kafka/kafka.sh start -s -d DIR and name DIR in " + secureEnv)
	}
	c := &secureCluster{dir: dir}
	c.brokers = strings.Split(c.file(t, "bootstrap"), ",")
	c.mtls = strings.Split(c.file(t, "bootstrap-mtls"), ",")
	c.admin = c.client(t, "admin", c.file(t, "admin.password"))
	return c
}

// file returns the content of a file in the cluster's directory.
func (c *secureCluster) file(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(c.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

func (c *secureCluster) client(t *testing.T, user, password string) *kgo.Client {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(c.file(t, "ca.pem")))
	return kafkaClient(t, c.brokers, kgo.DialTLSConfig(&tls.Config{RootCAs: pool, ServerName: "localhost"}),
		kgo.SASL(scram.Auth{User: user, Pass: password}.AsSha512Mechanism()), kgo.RecordPartitioner(kgo.ManualPartitioner()))
}

// setPassword makes an account, or gives it another password, and waits until a login has it.
func (c *secureCluster) setPassword(t *testing.T, user, password string) {
	t.Helper()
	const iterations = 4096
	salt := []byte("salt of " + user)
	salted, err := pbkdf2.Key(sha512.New, password, salt, iterations, sha512.Size)
	if err != nil {
		t.Fatal(err)
	}
	req := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
	up := kmsg.NewAlterUserSCRAMCredentialsRequestUpsertion()
	up.Name, up.Mechanism, up.Iterations, up.Salt, up.SaltedPassword = user, 2, iterations, salt, salted
	req.Upsertions = append(req.Upsertions, up)
	resp, err := req.RequestWith(t.Context(), c.admin)
	if err == nil && len(resp.Results) > 0 {
		err = kerr.ErrorForCode(resp.Results[0].ErrorCode)
	}
	if err != nil {
		t.Fatalf("give user %s a password: %v", user, err)
	}
	client := c.client(t, user, password)
	defer client.Close()
	await(t, "the broker to know user "+user, func() bool { return client.Ping(t.Context()) == nil })
}

// acl is a line of acls.txt.
type acl struct{ purpose, operation, resource, name string }

func (a acl) String() string { return fmt.Sprintf("%s on %s %s", a.operation, a.resource, a.name) }

// readACLs returns the lines of acls.txt for a purpose; "": all.
func readACLs(t *testing.T, purpose string) (acls []acl) {
	t.Helper()
	text, err := os.ReadFile("acls.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines(string(text)) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] == "#" {
			continue
		}
		if len(f) != 4 {
			t.Fatalf("acls.txt has the line %q; want what it is for, operation, resource, name", line)
		}
		if purpose == "" || purpose == f[0] {
			acls = append(acls, acl{f[0], f[1], f[2], f[3]})
		}
	}
	if len(acls) == 0 {
		t.Fatalf("acls.txt has no line for %q", purpose)
	}
	return acls
}

// of returns the ACL for the names of an app.
func (a acl) of(app topic.App) acl {
	for _, r := range [][2]string{{"APP", app.ID}, {"INPUT", app.Inputs[0]}, {"ALERTS", app.Alerts}, {"DEAD-LETTER", app.DeadLetter}} {
		if rest, ok := strings.CutPrefix(a.name, r[0]); ok {
			a.name = r[1] + rest
			break
		}
	}
	return a
}

func (a acl) kafka(t *testing.T) (resource kmsg.ACLResourceType, operation kmsg.ACLOperation, name string, pattern kmsg.ACLResourcePatternType) {
	t.Helper()
	resource, err := kmsg.ParseACLResourceType(a.resource)
	if err != nil {
		t.Fatalf("acls.txt: %s: %v", a, err)
	}
	if operation, err = kmsg.ParseACLOperation(a.operation); err != nil {
		t.Fatalf("acls.txt: %s: %v", a, err)
	}
	if prefix, ok := strings.CutSuffix(a.name, "*"); ok {
		return resource, operation, prefix, kmsg.ACLResourcePatternTypePrefixed
	}
	return resource, operation, a.name, kmsg.ACLResourcePatternTypeLiteral
}

// grant gives a user rights. They hold for later logins, if the account is made after them.
func (c *secureCluster) grant(t *testing.T, user string, acls ...acl) {
	t.Helper()
	req := kmsg.NewPtrCreateACLsRequest()
	for _, a := range acls {
		creation := kmsg.NewCreateACLsRequestCreation()
		creation.ResourceType, creation.Operation, creation.ResourceName, creation.ResourcePatternType = a.kafka(t)
		creation.Principal, creation.Host, creation.PermissionType = "User:"+user, "*", kmsg.ACLPermissionTypeAllow
		req.Creations = append(req.Creations, creation)
	}
	resp, err := req.RequestWith(t.Context(), c.admin)
	if err != nil {
		t.Fatalf("create ACLs: %v", err)
	}
	for i, r := range resp.Results {
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			t.Fatalf("create ACL %s: %v", acls[i], err)
		}
	}
}

// revoke takes a right away.
func (c *secureCluster) revoke(t *testing.T, user string, a acl) {
	t.Helper()
	req := kmsg.NewPtrDeleteACLsRequest()
	f := kmsg.NewDeleteACLsRequestFilter()
	principal := "User:" + user
	resource, operation, name, pattern := a.kafka(t)
	f.ResourceType, f.Operation, f.ResourceName, f.ResourcePatternType = resource, operation, &name, pattern
	f.Principal, f.PermissionType = &principal, kmsg.ACLPermissionTypeAllow
	req.Filters = append(req.Filters, f)
	resp, err := req.RequestWith(t.Context(), c.admin)
	if err == nil && (len(resp.Results) != 1 || len(resp.Results[0].MatchingACLs) != 1) {
		err = fmt.Errorf("%d results; want one ACL deleted", len(resp.Results))
	}
	if err != nil {
		t.Fatalf("delete ACL %s: %v", a, err)
	}
}

// app names an app with two shards; its topics are created with the rights of the
// administrator.
func (c *secureCluster) app(id string) topic.App {
	return topic.App{ID: id, Shards: 2, Inputs: []string{id + "-in"}, Alerts: id + "-alerts", DeadLetter: id + "-dead"}
}

// site returns the site of an app for a user of the cluster with the password "secret"
// followed by the name.
func (c *secureCluster) site(t *testing.T, app topic.App, user string) *site {
	t.Helper()
	password := "secret " + user
	if user == "admin" {
		password = c.file(t, "admin.password")
	}
	s := &site{T: t, brokers: c.brokers, dir: t.TempDir(), admin: c.admin, app: app}
	file := filepath.Join(s.dir, "password")
	replaceFile(t, file, password)
	s.config = filepath.Join(s.dir, "trailhound.yaml")
	replaceFile(t, s.config, fmt.Sprintf(`app_id: %[1]s
shards: %[2]d
kafka:
  brokers: [%[3]s]
  session_timeout: 6s
  request_timeout: 5s
  transaction_timeout: 10s
  tls: {enabled: true, ca_file: %[4]s}
  sasl: {mechanism: scram-sha-512, username: %[5]s, password_file: %[6]s}
topics: {input: [%[1]s-in], alerts: %[1]s-alerts, dead_letter: %[1]s-dead, alert_partitions: 2}
state_dir: %[7]s
http: {listen: ""}
`, app.ID, app.Shards, strings.Join(c.brokers, ", "), filepath.Join(c.dir, "ca.pem"), user, file, filepath.Join(s.dir, "state")))
	return s
}

// replaceFile writes a file in one piece, as tools that replace secrets under a service do.
func replaceFile(t *testing.T, file, text string) {
	t.Helper()
	part := file + ".part"
	if err := os.WriteFile(part, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(part, file); err != nil {
		t.Fatal(err)
	}
}
