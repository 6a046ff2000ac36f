package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kfake"
)

// authority makes a directory with an authority, ca.pem, and the pairs server and client that it has signed.
func authority(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	from, to := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	issue(t, filepath.Join(dir, "ca"), "", from, to)
	issue(t, filepath.Join(dir, "server"), dir, from, to)
	issue(t, filepath.Join(dir, "client"), dir, from, to)
	return dir
}

// mutual returns the TLS configuration of a broker that asks for a client certificate
// signed by the authority in dir, as its own is.
func mutual(t *testing.T, dir string) *tls.Config {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	c := &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: x509.NewCertPool()}
	c.ClientCAs.AppendCertsFromPEM(text)
	return c
}

// Certificates of both sides, and the authority, are replaced under a running client: its
// next connections show the new ones. Half-written files change nothing, and the log
// reports them once.
func TestTLSRotation(t *testing.T) {
	first, second := authority(t), authority(t)
	var serving atomic.Pointer[tls.Config]
	serving.Store(mutual(t, first))
	cluster := fakeCluster(t, kfake.NumBrokers(1), kfake.TLS(&tls.Config{
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return serving.Load(), nil },
	}))
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	put := func(from string, names ...string) {
		for _, name := range names {
			text, err := os.ReadFile(filepath.Join(from, name))
			if err != nil {
				t.Fatal(err)
			}
			replaceFile(t, file(name), string(text))
		}
	}
	put(first, "ca.pem", "client.pem", "client.key")
	s, err := (&app{set: []string{
		setBrokers(cluster.ListenAddrs()), "kafka.tls.enabled=true", "kafka.tls.ca_file=" + file("ca.pem"),
		"kafka.tls.cert_file=" + file("client.pem"), "kafka.tls.key_file=" + file("client.key"),
	}}).setup()
	if err != nil {
		t.Fatal(err)
	}
	var log output
	client, err := s.kafkaClient(zerolog.New(&log).WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	reach := func() error {
		client.Close() // the connections there are
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := client.Topics(ctx)
		return err
	}
	if err := reach(); err != nil {
		t.Fatalf("Topics with the first certificates = %v; want nil", err)
	}

	const told = "the files of kafka.tls were replaced and cannot be used"
	for _, name := range []string{"ca.pem", "client.pem", "client.key"} {
		text, err := os.ReadFile(file(name))
		if err != nil {
			t.Fatal(err)
		}
		replaceFile(t, file(name), string(text[:len(text)/2]))
		before := strings.Count(log.String(), told)
		for range 3 {
			if err := reach(); err != nil {
				t.Errorf("Topics with half of %s = %v; want nil, by what it held before", name, err)
			}
		}
		if n := strings.Count(log.String(), told) - before; n != 1 {
			t.Errorf("half of %s is told %d times; want once:\n%s", name, n, &log)
		}
		replaceFile(t, file(name), string(text))
	}
	put(second, "client.pem") // and not yet its key
	if err := reach(); err != nil {
		t.Errorf("Topics with the certificate of another key = %v; want nil, by the pair before", err)
	}

	serving.Store(mutual(t, second))
	if err := reach(); err == nil {
		t.Errorf("Topics at a broker with new certificates, of which the files do not know = nil; want an error")
	}
	put(second, "ca.pem", "client.pem", "client.key")
	await(t, "the new certificates to be used", func() bool { return reach() == nil })
	if !log.has("can be used again") {
		t.Errorf("the log does not say that the files can be used again:\n%s", &log)
	}
}

// A broker that asks for a client certificate and refuses the one it gets gives one line
// with the remedy.
func TestClientCertificateRefused(t *testing.T) {
	dir, stranger := authority(t), authority(t)
	old := filepath.Join(dir, "old")
	issue(t, old, dir, time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour))
	brokers := fakeCluster(t, kfake.NumBrokers(1), kfake.TLS(mutual(t, dir))).ListenAddrs()
	for name, tt := range map[string]struct{ pair, want string }{
		"none":    {"", "; does it want a client certificate? Then give kafka.tls.cert_file and kafka.tls.key_file\n"},
		"expired": {old, "; the certificate in kafka.tls.cert_file is valid from "},
		"another": {filepath.Join(stranger, "client"), "; do the brokers trust the authority that signed kafka.tls.cert_file (CN=ca)?\n"},
		"right":   {filepath.Join(dir, "client"), ""},
	} {
		set := []string{setBrokers(brokers), "kafka.tls.enabled=true", "kafka.tls.ca_file=" + filepath.Join(dir, "ca.pem"), "topics.create=true"}
		if tt.pair != "" {
			set = append(set, "kafka.tls.cert_file="+tt.pair+".pem", "kafka.tls.key_file="+tt.pair+".key")
		}
		r := command(t.Context(), "", nil, append(sets(set), "topics", "create", "--input-partitions", "1")...)
		if tt.want == "" {
			if r.code != exitDone {
				t.Errorf("%s: topics create = %d with %q; want 0", name, r.code, r.stderr)
			}
			continue
		}
		if r.code != exitFailed || strings.Count(r.stderr, "\n") != 1 || !strings.Contains(r.stderr, "certificate") || !strings.Contains(r.stderr, tt.want) {
			t.Errorf("%s: topics create = %d with %q; want 1 and one line with %q", name, r.code, r.stderr, tt.want)
		}
	}
}
