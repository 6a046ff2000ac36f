package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kfake"

	"trailhound/config"
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

// firstMessage returns the client's first message of the authentication.
func firstMessage(t *testing.T, s config.SASL) (string, error) {
	t.Helper()
	m := mechanism(s)
	if m.Name() != "OAUTHBEARER" {
		t.Errorf("the mechanism of %s is %s; want OAUTHBEARER", s.Mechanism, m.Name())
	}
	_, first, err := m.Start(t.Context())
	return string(first), err
}

// The token file is read at each authentication, and the token is sent with the extensions.
func TestTokenFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	s := config.SASL{Mechanism: "oauthbearer", TokenFile: file, OAuth: config.OAuth{Extensions: []string{"logicalCluster=lkc-1", "identityPoolId=p=2"}}}
	if _, err := firstMessage(t, s); err == nil || !strings.HasPrefix(err.Error(), "kafka.sasl.token_file: open "+file) {
		t.Errorf("without the file: %v; want an error that names it", err)
	}
	for _, token := range []string{"one", "two"} {
		replaceFile(t, file, token+"\n")
		want := "n,,\x01auth=Bearer " + token + "\x01identityPoolId=p=2\x01logicalCluster=lkc-1\x01\x01"
		if got, err := firstMessage(t, s); err != nil || got != want {
			t.Errorf("the first message is %q, %v; want %q", got, err, want)
		}
	}
	for _, text := range []string{"", " \n", "o ne", "one\x01auth=Bearer two"} {
		replaceFile(t, file, text)
		if got, err := firstMessage(t, s); err == nil || strings.Contains(err.Error(), "Bearer") {
			t.Errorf("with %q in the file the first message is %q, %v; want an error without the token", text, got, err)
		}
	}
}

// The token endpoint gets the request of RFC 6749, once for all connections until the token
// ends, and its refusal is one line.
func TestTokenEndpoint(t *testing.T) {
	var asked atomic.Int64
	life := "3600"
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := asked.Add(1)
		id, password, _ := r.BasicAuth()
		if err := r.ParseForm(); err != nil || id != "hound" || password != "s3cret" || r.Form.Get("grant_type") != "client_credentials" || r.Form.Get("scope") != "a b" {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"error":"invalid_client","error_description":"no such\nclient"}`)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token":"token-%d","token_type":"bearer","expires_in":%s}`, n, life)
	}))
	defer endpoint.Close()
	file := filepath.Join(t.TempDir(), "secret")
	replaceFile(t, file, "wrong")
	s := config.SASL{Mechanism: "oauthbearer", OAuth: config.OAuth{TokenURL: endpoint.URL, ClientID: "hound", ClientSecretFile: file, Scopes: []string{"a", "b"}}}
	if _, err := firstMessage(t, s); err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "401") || !strings.Contains(err.Error(), "invalid_client") || strings.Contains(err.Error(), "wrong") {
		t.Errorf("with a wrong secret: %v; want one line with what the endpoint says, and no secret", err)
	}
	replaceFile(t, file, "s3cret\n")
	m := mechanism(s)
	message := func() string {
		_, first, err := m.Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return string(first)
	}
	if a, b := message(), message(); a != b || !strings.Contains(a, "Bearer token-") {
		t.Errorf("two connections show %q and %q; want the same token", a, b)
	}
	life = "0"
	m = mechanism(s)
	if a, b := message(), message(); a == b {
		t.Errorf("two connections show %q although it has ended; want another", a)
	}
	endpoint.Close()
	if _, err := firstMessage(t, s); err == nil || !strings.HasPrefix(err.Error(), "kafka.sasl.oauth.token_url "+endpoint.URL+" gives no token: ") {
		t.Errorf("without the endpoint: %v; want an error that names it", err)
	}
}

// The token for MSK is AWS's own: a signed URL that names the caller and holds no secret.
func TestMSKToken(t *testing.T) {
	s := config.SASL{Mechanism: "aws-msk-iam", AWSRegion: "eu-west-1"}
	for key, value := range map[string]string{
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/none", "AWS_SHARED_CREDENTIALS_FILE": "/none", "AWS_PROFILE": "",
		"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": "", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "", "AWS_WEB_IDENTITY_TOKEN_FILE": "", "AWS_ROLE_ARN": "",
	} {
		t.Setenv(key, value)
	}
	if _, err := firstMessage(t, s); err == nil || strings.Contains(err.Error(), "\n") || !strings.HasSuffix(err.Error(), "; are there AWS credentials for this process?") {
		t.Errorf("without credentials: %v; want one line that says so", err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secretexample")
	t.Setenv("AWS_SESSION_TOKEN", "sessionexample")
	first, err := firstMessage(t, s)
	token, ok := strings.CutPrefix(strings.TrimRight(first, "\x01"), "n,,\x01auth=Bearer ")
	if err != nil || !ok {
		t.Fatalf("the first message is %q, %v; want a token", first, err)
	}
	text, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(string(text))
	if err != nil || u.Host != "kafka.eu-west-1.amazonaws.com" || u.Query().Get("Action") != "kafka-cluster:Connect" ||
		!strings.HasPrefix(u.Query().Get("X-Amz-Credential"), "AKIDEXAMPLE/") || !strings.HasSuffix(u.Query().Get("X-Amz-Credential"), "/eu-west-1/kafka-cluster/aws4_request") ||
		u.Query().Get("X-Amz-Security-Token") != "sessionexample" || u.Query().Get("X-Amz-Signature") == "" || strings.Contains(string(text), "secretexample") {
		t.Errorf("the token is %s, %v; want a signed URL of the region's MSK for AKIDEXAMPLE, without its secret", text, err)
	}
}
