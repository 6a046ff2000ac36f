package security_test

import (
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

	"trailhound/consumer/kafka/security"
)

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

// firstMessage returns the client's first message of the authentication.
func firstMessage(t *testing.T, s security.SASL) (string, error) {
	t.Helper()
	m := security.NewMechanism(s)
	if m.Name() != "OAUTHBEARER" {
		t.Errorf("the mechanism of %s is %s; want OAUTHBEARER", s.Mechanism, m.Name())
	}
	_, first, err := m.Start(t.Context())
	return string(first), err
}

// The token file is read at each authentication, and the token is sent with the extensions.
func TestTokenFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	s := security.SASL{Mechanism: "oauthbearer", TokenFile: file, OAuth: security.OAuth{Extensions: []string{"logicalCluster=lkc-1", "identityPoolId=p=2"}}}
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
	s := security.SASL{Mechanism: "oauthbearer", OAuth: security.OAuth{TokenURL: endpoint.URL, ClientID: "hound", ClientSecretFile: file, Scopes: []string{"a", "b"}}}
	if _, err := firstMessage(t, s); err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "401") || !strings.Contains(err.Error(), "invalid_client") || strings.Contains(err.Error(), "wrong") {
		t.Errorf("with a wrong secret: %v; want one line with what the endpoint says, and no secret", err)
	}
	replaceFile(t, file, "s3cret\n")
	m := security.NewMechanism(s)
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
	m = security.NewMechanism(s)
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
	s := security.SASL{Mechanism: "aws-msk-iam", AWSRegion: "eu-west-1"}
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
