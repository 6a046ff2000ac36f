package deploy_test

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
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// docCertificate returns a certificate for 127.0.0.1, and the file of the authority that signed it, which is itself.
func docCertificate(t *testing.T) (certificate tls.Certificate, caFile string) {
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

// The example consumers reach brokers that want TLS and a password.
func TestDocConsumersSecured(t *testing.T) {
	t.Parallel()
	for _, c := range docConsumers(t) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.missing != "" {
				t.Skip(c.missing)
			}
			certificate, caFile := docCertificate(t)
			const user, password = "reader", "a long password"
			cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.TLS(&tls.Config{Certificates: []tls.Certificate{certificate}}),
				kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-512", user, password))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(cluster.Close)
			roots := x509.NewCertPool()
			leaf, err := x509.ParseCertificate(certificate.Certificate[0])
			if err != nil {
				t.Fatal(err)
			}
			roots.AddCert(leaf)
			passwordFile := filepath.Join(t.TempDir(), "password")
			if err := os.WriteFile(passwordFile, []byte(password+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			s := newDocShop(t, cluster.ListenAddrs(), kgo.DialTLSConfig(&tls.Config{RootCAs: roots}),
				kgo.SASL(scram.Auth{User: user, Pass: password}.AsSha512Mechanism()))
			s.environment = []string{"ALERTS_CA_FILE=" + caFile, "ALERTS_SASL_MECHANISM=SCRAM-SHA-512", "ALERTS_USERNAME=" + user, "ALERTS_PASSWORD_FILE=" + passwordFile}
			s.send(5)
			file := filepath.Join(t.TempDir(), "state")
			r := s.start(c, docName(), file)
			docAwait(t, c.name+" to act on all alerts", func() bool { return len(c.ids(t, file)) >= len(s.expected) })
			if err := r.stop(t, syscall.SIGTERM); err != nil {
				t.Errorf("%s ends with %v after SIGTERM: %s; want 0", c.name, err, r.stderr.String())
			}
			s.check(c.ids(t, file))
		})
	}
}
