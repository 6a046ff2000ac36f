package main

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"trailhound/rules/cloudtrail/filestest"
)

// tenant makes an app, its topics, and an account with no rights but these.
func (c *secureCluster) tenant(t *testing.T, purposes ...string) (s, admin *site) {
	t.Helper()
	user := uniqueName()
	app := c.app(user)
	admin = c.site(t, app, "admin")
	admin.must("", "topics", "create", "--input-partitions", "4")
	for _, purpose := range purposes {
		for _, a := range readACLs(t, purpose) {
			c.grant(t, user, a.of(app))
		}
	}
	c.setPassword(t, user, "secret "+user)
	return c.site(t, app, user), admin
}

// A whole pipeline with an account that has only the rights of acls.txt, on a broker that
// ends every session after a few seconds: two instances, one of which is killed, give every
// alert exactly once, and no request is cut.
func TestSecurePipeline(t *testing.T) {
	c := newSecureCluster(t)
	t.Parallel()
	s, _ := c.tenant(t, "run", "ingest", "alerts")
	f := &fleet{site: s, instances: make([]*program, 2)}
	all := deeds(7, 4_000)
	for i := range f.instances {
		f.startInstance(i)
	}
	for i := range f.instances {
		f.await("the instance to join", f.joined(i))
	}
	said := slices.Clone(f.instances)
	began := time.Now()
	for n, part := range slices.Collect(slices.Chunk(all, len(all)/4)) {
		s.ingest(part)
		// Sessions end meanwhile: the next part finds connections that have to be authenticated anew.
		f.await("sessions to end", func() bool { return time.Since(began) > time.Duration(n+1)*3500*time.Millisecond })
		if n == 1 {
			f.crash(0)
			said = append(said, f.instances[0])
		}
	}
	want := answer(all)
	f.await("all alerts", func() bool { return len(s.alertsSeen()) >= len(want) })
	for _, p := range f.instances {
		p.expectEnd()
		p.signal(os.Interrupt)
		if code := p.wait(); code != exitDone {
			t.Errorf("run = %d after SIGINT; want 0", code)
		}
	}
	if got := s.alertsSeen(); !slices.Equal(got, want) {
		t.Errorf("%d alerts; want exactly these %d", len(got), len(want))
	}
	for _, p := range said {
		for _, line := range lines(p.stderr.String()) {
			for _, cut := range []string{"closed the connection", "no answer", "authenticat"} {
				if strings.Contains(line, cut) {
					t.Errorf("run says %s; want no word about sessions that end", line)
				}
			}
		}
	}
}

// Each way to authenticate gives the rights of its account at the broker.
func TestSecureMechanisms(t *testing.T) {
	c := newSecureCluster(t)
	s, _ := c.tenant(t)
	for _, a := range readACLs(t, "ingest") {
		c.grant(t, "client", a.of(s.app))
		c.grant(t, "bearer", a.of(s.app))
	}
	token := filepath.Join(s.dir, "token")
	replaceFile(t, token, unsignedToken("bearer", time.Hour)+"\n")
	password := "kafka.sasl.password_file=" + filepath.Join(c.dir, "admin.password")
	for name, set := range map[string][]string{
		"plain":         {"kafka.sasl.mechanism=plain", "kafka.sasl.username=admin", password},
		"scram-sha-256": {"kafka.sasl.mechanism=scram-sha-256", "kafka.sasl.username=admin", password},
		"scram-sha-512": {"kafka.sasl.mechanism=scram-sha-512", "kafka.sasl.username=admin", password},
		"oauthbearer":   {"kafka.sasl.mechanism=oauthbearer", "kafka.sasl.username=", "kafka.sasl.password_file=", "kafka.sasl.token_file=" + token},
		"client certificate": {
			"kafka.brokers=" + strings.Join(c.mtls, ","), "kafka.sasl.mechanism=none", "kafka.sasl.username=", "kafka.sasl.password_file=",
			"kafka.tls.cert_file=" + filepath.Join(c.dir, "client.pem"), "kafka.tls.key_file=" + filepath.Join(c.dir, "client.key"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			if r := s.command(filestest.Denial(1, "alice"), append(sets(set), "ingest", "-")...); r.code != exitDone {
				t.Errorf("ingest = %d with %q; want 0", r.code, r.stderr)
			}
		})
	}
}

// unsignedToken is a JSON web token without a signature, which only brokers for tests take.
func unsignedToken(subject string, life time.Duration) string {
	now := time.Now()
	claims := fmt.Sprintf(`{"sub":%q,"iat":%d,"exp":%d}`, subject, now.Unix(), now.Add(life).Unix())
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + "."
}

// A refusal of a real broker gives one line, with the cause and the remedy.
func TestSecureRefusals(t *testing.T) {
	c := newSecureCluster(t)
	s, _ := c.tenant(t)
	old, other := filepath.Join(s.dir, "old"), filepath.Join(s.dir, "other")
	issue(t, old, c.dir, time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour))
	issue(t, other, "", time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	bearer := []string{"kafka.sasl.mechanism=oauthbearer", "kafka.sasl.username=", "kafka.sasl.password_file="}
	mtls := []string{"kafka.brokers=" + strings.Join(c.mtls, ","), "kafka.sasl.mechanism=none", "kafka.sasl.username=", "kafka.sasl.password_file="}
	pair := func(name string) []string {
		return []string{"kafka.tls.cert_file=" + name + ".pem", "kafka.tls.key_file=" + name + ".key"}
	}
	for name, tt := range map[string]struct{ set, want []string }{
		"wrong password":      {[]string{"kafka.sasl.password_file=", "kafka.sasl.password=guessed"}, []string{"by SCRAM-SHA-512: ", "invalid credentials", "; check kafka.sasl.username and the password\n"}},
		"unknown user":        {[]string{"kafka.sasl.username=nobody"}, []string{"invalid credentials"}},
		"another mechanism":   {[]string{"kafka.sasl.mechanism=scram-sha-256"}, []string{"invalid credentials"}},
		"expired token":       {append(bearer, "kafka.sasl.token="+unsignedToken("bearer", -time.Minute)), []string{"by OAUTHBEARER: ", "invalid_token", "; check the token of kafka.sasl: its issuer, its audience, its scope and its end\n"}},
		"no token":            {append(bearer, "kafka.sasl.token_file="+s.dir+"/absent"), []string{"trailhound: --set kafka.sasl.token_file: open ", "no such file"}},
		"no certificate":      {mtls, []string{"certificate", "; does it want a client certificate? Then give kafka.tls.cert_file and kafka.tls.key_file\n"}},
		"expired certificate": {append(mtls, pair(old)...), []string{"; the certificate in kafka.tls.cert_file is valid from ", " only: renew it\n"}},
		"untrusted":           {append(mtls, pair(other)...), []string{"; do the brokers trust the authority that signed kafka.tls.cert_file (CN=other)?\n"}},
		"unknown authority":   {[]string{"kafka.tls.ca_file=" + other + ".pem"}, []string{"; name the authority that signs the brokers' certificates in kafka.tls.ca_file"}},
		"no TLS":              {[]string{"kafka.tls.enabled=false", "kafka.tls.ca_file="}, []string{" answers as a TLS server, not as Kafka; set kafka.tls.enabled: true"}},
		"no SASL":             {[]string{"kafka.sasl.mechanism=none", "kafka.sasl.username=", "kafka.sasl.password_file="}, []string{"is it a Kafka listener with TLS and with SASL mechanism \"none\""}},
		"no rights":           {nil, []string{"not authorized: Describe on topic ", "\ntrailhound: not authorized: Read on group ", "\ntrailhound: grant what is missing with:\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := append(sets(tt.set), "run", "--set", "state_dir="+t.TempDir())
			code := exitFailed
			if name == "no token" { // the configuration's fault
				code = exitUsage
			}
			r := s.command("", args...)
			if r.code != code || strings.Count(r.stderr, "\n") != 1 && name != "no rights" || strings.Contains(r.stderr, "guessed") || strings.Contains(r.stderr, unsignedToken("", 0)[:10]) {
				t.Errorf("run = %d with %q; want %d with one line, and no secret", r.code, r.stderr, code)
			}
			for _, want := range tt.want {
				if !strings.Contains(r.stderr, want) {
					t.Errorf("run says %q; want %q", r.stderr, want)
				}
			}
		})
	}
}

// A token for MSK reaches the broker in the form of OAUTHBEARER. This broker is no MSK, and
// refuses the token.
func TestSecureMSKToken(t *testing.T) {
	c := newSecureCluster(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secretexample")
	r := c.site(t, c.app(uniqueName()), "admin").command("", "run", "--set", "kafka.sasl.mechanism=aws-msk-iam", "--set", "kafka.sasl.aws_region=eu-west-1",
		"--set", "kafka.sasl.username=", "--set", "kafka.sasl.password_file=")
	for _, want := range []string{"by OAUTHBEARER: it says of the token ", "invalid_token", "; check that the AWS credentials of this process are not over"} {
		if r.code != exitFailed || !strings.Contains(r.stderr, want) || strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("run = %d with %q; want 1 and one line with %q", r.code, r.stderr, want)
		}
	}
}

// The password is changed under a service: it says so, waits without pestering the broker,
// and goes on with the new one, with each alert once.
func TestSecurePasswordChanged(t *testing.T) {
	c := newSecureCluster(t)
	t.Parallel()
	s, admin := c.tenant(t, "run")
	p := s.start("run", "--set", "http.listen=127.0.0.1:0")
	admin.ingest(denials(12))
	s.await("the first alert", func() bool { return len(admin.alertsSeen()) == 1 })
	user := s.app.ID
	c.setPassword(t, user, "changed")
	ready := func() bool { code, _ := p.get("/readyz"); return code == 200 }
	s.await("the service not to be ready, when its sessions have ended", func() bool { return !ready() })
	s.await("the service to say why", func() bool { return p.stderr.has("refuses to authenticate this client by SCRAM-SHA-512") })
	refused := func() int {
		text, err := os.ReadFile(filepath.Join(c.dir, "1", "broker.log"))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(text), "Failed authentication") + strings.Count(string(text), "Failed re-authentication")
	}
	began, before := time.Now(), refused()
	s.await("some seconds to pass", func() bool { return time.Since(began) > 8*time.Second })
	if n := refused() - before; n < 1 || n > 8 {
		t.Errorf("the broker refuses %d logins in 8s; want some, and one a second at most", n)
	}
	if _, metrics := p.get("/metrics"); !strings.Contains(metrics, "trailhound_failures_total{") {
		t.Errorf("/metrics has no trailhound_failures_total")
	}
	more := denials(24)[12:]
	admin.ingest(more)
	replaceFile(t, filepath.Join(s.dir, "password"), "changed")
	s.await("the service to be ready again", ready)
	s.await("the second alert", func() bool { return len(admin.alertsSeen()) == 2 })
	if warned := strings.Count(p.stderr.String(), `"level":"warn"`); warned > 60 {
		t.Errorf("run logs %d warnings; want a few", warned)
	}
}

// A right is revoked under a service: it names the right, and goes on when the right is
// given back.
func TestSecureRightTakenAway(t *testing.T) {
	c := newSecureCluster(t)
	t.Parallel()
	s, admin := c.tenant(t, "run")
	p := s.start("run", "--set", "http.listen=127.0.0.1:0")
	admin.ingest(denials(12))
	s.await("the first alert", func() bool { return len(admin.alertsSeen()) == 1 })
	right := acl{"run", "Write", "topic", s.app.Alerts}
	c.revoke(t, s.app.ID, right)
	c.grant(t, s.app.ID, acl{"run", "Describe", "topic", s.app.Alerts})
	if err := c.admin.ProduceSync(t.Context(), &kgo.Record{Topic: s.app.Inputs[0], Value: []byte("junk")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	admin.ingest(denials(24)[12:])
	s.await("the service to say what it lacks", func() bool {
		code, body := p.get("/readyz")
		return code == 503 && strings.Contains(body, "not authorized: Write on topic "+s.app.Alerts)
	})
	c.grant(t, s.app.ID, right)
	s.await("the second alert", func() bool { return len(admin.alertsSeen()) == 2 })
}
