package main

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// listener returns an address at which serve answers each connection; with nil none is
// answered.
func listener(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	if serve != nil {
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				serve(c)
			}
		}()
	}
	return l.Addr().String()
}

// closedPort is an address without a listener, which no other test gets: one that was free a
// moment ago may belong to another process by now.
const closedPort = "127.0.0.1:1"

// Each obstacle on the way to Kafka gives one sentence, soon, with the cause and the
// remedy.
func TestUnreachable(t *testing.T) {
	certificate, caFile := selfSigned(t)
	plain := fakeKafka(t, "cloudtrail", 1).ListenAddrs()
	encrypted := fakeKafka(t, "cloudtrail", 1, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{certificate}})).ListenAddrs()
	guarded := fakeKafka(t, "cloudtrail", 1, kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", "hunter", "secret")).ListenAddrs()
	patient := "kafka.request_timeout=8s" // a handshake may take a while on a busy machine
	login := []string{patient, "kafka.sasl.mechanism=scram-sha-256", "kafka.sasl.username=hunter"}
	const (
		listening = "is it a Kafka listener without TLS and with SASL mechanism \"none\", as kafka.tls and kafka.sasl say?\n"
		start     = "; start Kafka, or name a broker that runs with --set kafka.brokers=HOST:PORT\n"
	)
	for name, tt := range map[string]struct {
		brokers []string
		set     []string
		want    string // end of the sentence
	}{
		"nobody listens": {[]string{closedPort}, nil, "connection refused" + start},
		"never answers":  {[]string{listener(t, nil)}, nil, "nothing came within kafka.request_timeout, 1s; " + listening},
		"speaks HTTP": {[]string{listener(t, func(c net.Conn) {
			defer c.Close()
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") // a client that hung up gets no answer
		})}, []string{patient}, " answers as an HTTP server, not as Kafka; name the port of a Kafka listener in kafka.brokers\n"},
		"speaks SSH": {[]string{listener(t, func(c net.Conn) {
			defer c.Close()
			_, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.6\r\n")
		})}, []string{patient}, " answers as an SSH server, not as Kafka; name the port of a Kafka listener in kafka.brokers\n"},
		"hangs up":            {[]string{listener(t, func(c net.Conn) { c.Close() })}, nil, listening},
		"TLS is wanted":       {encrypted, nil, listening},
		"TLS is not wanted":   {plain, []string{"kafka.tls.enabled=true"}, "is it a Kafka listener with TLS and with SASL mechanism \"none\", as kafka.tls and kafka.sasl say?\n"},
		"unknown authority":   {encrypted, []string{patient, "kafka.tls.enabled=true"}, "; name the authority that signs the brokers' certificates in kafka.tls.ca_file, and the name to expect in them, if it is not the host's, in kafka.tls.server_name\n"},
		"another name":        {encrypted, []string{patient, "kafka.tls.enabled=true", "kafka.tls.ca_file=" + caFile, "kafka.tls.server_name=kafka"}, "in kafka.tls.server_name\n"},
		"a password is due":   {guarded, nil, listening},
		"wrong password":      {guarded, append(login, "kafka.sasl.password=guessed"), "with SASL mechanism \"scram-sha-256\", as kafka.tls and kafka.sasl say? Check the user name and the password too\n"},
		"no password is due":  {plain, append(login, "kafka.sasl.password=guessed"), "Check the user name and the password too\n"},
		"one of several runs": {append([]string{closedPort}, plain...), []string{patient}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := append(sets(append([]string{setBrokers(tt.brokers), "kafka.request_timeout=1s"}, tt.set...)), "ingest", "-")
			begun := time.Now()
			r := command(t.Context(), "", nil, args...)
			if took := time.Since(begun); took > 10*time.Second {
				t.Errorf("ingest ends after %s; want it soon after kafka.request_timeout, or an answer", took)
			}
			if tt.want == "" {
				if r.code != exitDone {
					t.Errorf("ingest = %d with %q; want 0", r.code, r.stderr)
				}
				return
			}
			begin := "trailhound: no broker of kafka.brokers (" + strings.Join(tt.brokers, ", ") + ") answers: "
			if r.code != exitFailed || strings.Count(r.stderr, "\n") != 1 || !strings.HasPrefix(r.stderr, begin) || !strings.HasSuffix(r.stderr, tt.want) || strings.Contains(r.stderr, "guessed") {
				t.Errorf("ingest = %d with %q; want 1 with one line, %q … %q", r.code, r.stderr, begin, tt.want)
			}
		})
	}
}

// Every command that speaks to Kafka ends when it is interrupted, even while it looks for a
// broker. For run an interrupt is no failure: it always ends so.
func TestInterruptedWhileConnecting(t *testing.T) {
	reached := make(chan struct{}, 100)
	silent := listener(t, func(net.Conn) { reached <- struct{}{} })
	for _, args := range [][]string{{"run"}, {"ingest"}, {"alerts"}, {"dead-letters", "list"}, {"dead-letters", "retry"}, {"topics", "check"}, {"topics", "create"}} {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-reached
			cancel()
		}()
		begun := time.Now()
		r := command(ctx, "", nil, append(sets([]string{"kafka.brokers=" + silent, "state_dir=" + t.TempDir()}), args...)...)
		code, says := exitFailed, "trailhound: interrupted\n"
		if args[0] == "run" {
			code, says = exitDone, ""
		}
		if took := time.Since(begun); r.code != code || r.stderr != says || took > 5*time.Second {
			t.Errorf("%q = %d with %q after %s; want %d with %q at once", args, r.code, r.stderr, took, code, says)
		}
		cancel()
	}
}

// Obstacles on this machine or in the configuration give one sentence that names the key.
func TestRunRefuses(t *testing.T) {
	s := newSite(t, fakeCluster(t).ListenAddrs(), 1)
	file := filepath.Join(s.dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	taken := listener(t, nil)
	running := s.start("run")
	s.await("the first instance to start", func() bool { return running.stderr.has(`"message":"started"`) })
	other := "state_dir=" + filepath.Join(s.dir, "other")
	for name, tt := range map[string]struct {
		set  []string
		code int
		want []string
	}{
		"state_dir is a file":      {[]string{"state_dir=" + file}, exitUsage, []string{"state_dir: ", file, "--set state_dir=DIR"}},
		"state_dir below a file":   {[]string{"state_dir=" + filepath.Join(file, "x")}, exitUsage, []string{"state_dir: ", file, "--set state_dir=DIR"}},
		"state_dir not writable":   {[]string{"state_dir=/proc/trailhound"}, exitUsage, []string{"state_dir: ", "/proc/trailhound", "--set state_dir=DIR"}},
		"state_dir in use":         {nil, exitFailed, []string{"state_dir " + filepath.Join(s.dir, "state") + " is in use by another instance"}},
		"http.listen is taken":     {[]string{other, "http.listen=" + taken}, exitFailed, []string{"http.listen " + taken, "address already in use", "choose another"}},
		"http.listen is no place":  {[]string{other, "http.listen=192.0.2.1:80"}, exitFailed, []string{"http.listen 192.0.2.1:80", "choose another"}},
		"another number of shards": {[]string{other, "shards=3"}, exitFailed, []string{"has 8 partitions, but shards is 3", "set shards: 8"}},
		"a bad value":              {[]string{"shards=none"}, exitUsage, []string{"--set shards: "}},
		"an unknown key":           {[]string{"shard=3"}, exitUsage, []string{"--set shard: ", "did you mean shards?"}},
		"a bad parameter":          {[]string{"rules.access_denied.threshold=0"}, exitUsage, []string{"--set rules.access_denied.threshold: threshold is 0"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := s.start(append([]string{"run"}, sets(tt.set)...)...)
			if code := p.wait(); code != tt.code {
				t.Errorf("run = %d; want %d", code, tt.code)
			}
			said := p.stderr.String()
			var sentences []string
			for _, line := range lines(said) {
				if !strings.HasPrefix(line, `{"level":"info"`) {
					sentences = append(sentences, line)
				}
			}
			if len(sentences) == 0 || strings.Contains(said, "goroutine ") {
				t.Fatalf("run says %q; want a sentence", said)
			}
			for _, want := range tt.want {
				if !strings.HasPrefix(sentences[0], "trailhound: ") || !strings.Contains(sentences[0], want) {
					t.Errorf("run says %q; want %q in it", sentences[0], want)
				}
			}
		})
	}
}

// A configuration file that is wrong or cannot be read gives an error with its place.
func TestRunBadFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "trailhound.yaml")
	if err := os.WriteFile(file, []byte("app_id: x\nshards: many\nrules: {acces_denied: {}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := command(t.Context(), "", nil, "run", "--config", file)
	if got := lines(r.stderr); r.code != exitUsage || len(got) != 2 || !strings.HasPrefix(got[0], "trailhound: "+file+":2:9: ") || !strings.Contains(got[1], file+":3:") || !strings.Contains(got[1], "did you mean access_denied?") {
		t.Errorf("run with a wrong file = %d, %q; want 2 and a line for each mistake with its place", r.code, r.stderr)
	}
	r = command(t.Context(), "", nil, "run", "--config", file+".absent")
	if r.code != exitUsage || len(lines(r.stderr)) != 1 || !strings.Contains(r.stderr, file+".absent") {
		t.Errorf("run without its file = %d, %q; want 2 and one line that names it", r.code, r.stderr)
	}
}

// Readers of topics that do not exist say so.
func TestReadersWithoutTopics(t *testing.T) {
	s := newSite(t, fakeCluster(t).ListenAddrs(), 0)
	for _, tt := range []struct {
		args []string
		key  string
		name string
	}{
		{[]string{"alerts", "--no-follow"}, "topics.alerts", s.app.Alerts},
		{[]string{"dead-letters", "list"}, "topics.dead_letter", s.app.DeadLetter},
		{[]string{"dead-letters", "retry"}, "topics.dead_letter", s.app.DeadLetter},
	} {
		want := "trailhound: " + tt.key + ": topic " + tt.name + " does not exist; run creates it, and so does trailhound topics create\n"
		if r := s.command("", tt.args...); r.code != exitFailed || r.stderr != want || r.stdout != "" {
			t.Errorf("%q = %d, %q; want 1 with %q", tt.args, r.code, r.stderr, want)
		}
	}
}

// A follower of the alerts may start before the service that creates their topic.
func TestAlertsWaitForTheirTopic(t *testing.T) {
	s := newSite(t, fakeCluster(t).ListenAddrs(), 0)
	p := s.call("alerts")
	s.await("alerts to wait", func() bool {
		return strings.Contains(p.stderr.String(), "topics.alerts: topic "+s.app.Alerts+" does not exist; waiting until run")
	})
	s.must("", "topics", "create", "--input-partitions", "1")
	s.start("run")
	for n := range 10 {
		s.send(0, strings.TrimSpace(denial(n, "alice")))
	}
	s.await("an alert", func() bool { return strings.Count(p.stdout.String(), "\n") == 1 })
	if code := p.end(); code != 0 || strings.Count(p.stderr.String(), "waiting") != 1 {
		t.Errorf("alerts = %d, and says\n%s\nwant 0 and to be told once of the wait", code, &p.stderr)
	}
}
