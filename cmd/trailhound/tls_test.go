package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"trailhound/config"
)

// selfSigned returns a certificate for 127.0.0.1, and its file, which is also that of the
// authority.
func selfSigned(t *testing.T) (certificate tls.Certificate, caFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, caFile
}

func TestTLSConfig(t *testing.T) {
	_, caFile := selfSigned(t)
	log := zerolog.Nop()
	none, junk := filepath.Join(t.TempDir(), "none.pem"), filepath.Join(t.TempDir(), "junk.pem")
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		tls  config.TLS
		want string
	}{
		{config.TLS{}, ""},
		{config.TLS{Enabled: true}, ""},
		{config.TLS{Enabled: true, CAFile: caFile}, ""},
		{config.TLS{Enabled: true, CAFile: none}, "kafka.tls.ca_file: open " + none},
		{config.TLS{Enabled: true, CAFile: junk}, "kafka.tls.ca_file: there is no PEM certificate in " + junk},
		{config.TLS{Enabled: true, CertFile: caFile, KeyFile: caFile}, "kafka.tls.cert_file and kafka.tls.key_file: "},
	} {
		c, err := tlsConfig(tt.tls, &log)
		if (err == nil) != (tt.want == "") || err != nil && !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("tlsConfig(%+v) = %v; want %q", tt.tls, err, tt.want)
		}
		if (c != nil) != (tt.tls.Enabled && err == nil) {
			t.Errorf("tlsConfig(%+v) gives a configuration: %t; want one exactly when it is enabled", tt.tls, c != nil)
		}
	}
}
