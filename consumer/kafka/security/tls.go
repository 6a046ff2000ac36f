package security

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"sync"

	"github.com/rs/zerolog"
)

// TLS is the encryption of connections to the brokers: kafka.tls of the configuration, which
// the errors name.
type TLS struct {
	Enabled    bool
	CAFile     string // "": the system's authorities
	CertFile   string // "": no client certificate
	KeyFile    string
	ServerName string // "": the host name that was dialled
}

// Config returns the function that makes the TLS configuration of each connection; nil:
// connections without TLS. The log has the errors of files that were replaced and cannot be
// used.
func (t TLS) Config(log *zerolog.Logger) (func() (*tls.Config, error), error) {
	if !t.Enabled {
		return nil, nil
	}
	f := &tlsFiles{paths: t, log: log}
	if _, err := f.config(); err != nil {
		return nil, err
	}
	return f.config, nil
}

// tlsFiles are certificate files that a renewal may replace at any time. They are read for
// each connection: connections are few.
type tlsFiles struct {
	paths TLS
	log   *zerolog.Logger

	mu   sync.Mutex
	good *tls.Config // of the last valid files
	told string      // the last error that was logged since good
}

// config returns the configuration for a new connection. Invalid files, such as
// half-written ones, leave the last configuration in use, and the log has the reason; they
// are an error only for the first call.
func (f *tlsFiles) config() (*tls.Config, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, err := f.paths.Read()
	switch {
	case err == nil:
		if f.told != "" {
			f.log.Info().Str("event", "tls_files_read").Msg("the files of kafka.tls can be used again")
		}
		f.good, f.told = c, ""
	case f.good == nil:
		return nil, err
	case f.told != err.Error():
		f.told = err.Error()
		f.log.Error().Err(err).Str("event", "tls_files_refused").Msg("the files of kafka.tls were replaced and cannot be used: new connections go on with what was in them before")
	}
	return f.good, nil
}

// Read reads the files, and returns the configuration of a connection.
func (t TLS) Read() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		text, err := os.ReadFile(t.CAFile)
		if err == nil {
			c.RootCAs, err = authorities(t.CAFile, text)
		}
		if err != nil {
			return nil, fmt.Errorf("kafka.tls.ca_file: %w", err)
		}
	}
	if t.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("kafka.tls.cert_file and kafka.tls.key_file: %w", err)
		}
		// Brokers name the authorities that they accept, and Go by default sends no
		// certificate of another one: brokers would then report a missing certificate, and
		// not the reason why they refuse this one.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	return c, nil
}

// authorities reads all certificates of a PEM file. A file that ends in the middle is
// refused even if its first half is valid: that would do until a broker shows a certificate
// signed by an authority of the other half.
func authorities(name string, text []byte) (*x509.CertPool, error) {
	pool, n := x509.NewCertPool(), 0
	rest := text
	for block := (*pem.Block)(nil); ; n++ {
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if block.Type != "CERTIFICATE" || err != nil {
			return nil, fmt.Errorf("block %d of %s, a %s, is no certificate", n+1, name, block.Type)
		}
		pool.AddCert(c)
	}
	switch {
	case bytes.Contains(rest, []byte("-----BEGIN")):
		return nil, fmt.Errorf("%s ends in the middle of a certificate", name)
	case n == 0:
		return nil, fmt.Errorf("there is no PEM certificate in %s", name)
	}
	return pool, nil
}
