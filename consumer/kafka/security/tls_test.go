package security_test

import (
	"encoding/pem"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"trailhound/consumer/kafka/security"

	"github.com/rs/zerolog"
)

// Files that cannot be used are an error that names their key.
func TestTLSConfig(t *testing.T) {
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	caFile := filepath.Join(t.TempDir(), "ca.pem")
	replaceFile(t, caFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	log := zerolog.Nop()
	none, junk := filepath.Join(t.TempDir(), "none.pem"), filepath.Join(t.TempDir(), "junk.pem")
	replaceFile(t, junk, "junk")
	for _, tt := range []struct {
		tls  security.TLS
		want string
	}{
		{security.TLS{}, ""},
		{security.TLS{Enabled: true}, ""},
		{security.TLS{Enabled: true, CAFile: caFile}, ""},
		{security.TLS{Enabled: true, CAFile: none}, "kafka.tls.ca_file: open " + none},
		{security.TLS{Enabled: true, CAFile: junk}, "kafka.tls.ca_file: there is no PEM certificate in " + junk},
		{security.TLS{Enabled: true, CertFile: caFile, KeyFile: caFile}, "kafka.tls.cert_file and kafka.tls.key_file: "},
	} {
		c, err := tt.tls.Config(&log)
		if (err == nil) != (tt.want == "") || err != nil && !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%+v.Config() = %v; want %q", tt.tls, err, tt.want)
		}
		if (c != nil) != (tt.tls.Enabled && err == nil) {
			t.Errorf("%+v.Config() gives a configuration: %t; want one exactly when it is enabled", tt.tls, c != nil)
		}
	}
}
