package main

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// connection returns the client options that reach the brokers.
func connection(getenv func(string) string) ([]kgo.Opt, error) {
	options := []kgo.Opt{kgo.SeedBrokers(strings.Split(cmp.Or(getenv("ALERTS_BROKERS"), "127.0.0.1:9092"), ",")...)}
	ca, cert, key := getenv("ALERTS_CA_FILE"), getenv("ALERTS_CERT_FILE"), getenv("ALERTS_KEY_FILE")
	if getenv("ALERTS_TLS") == "true" || ca != "" || cert != "" {
		config, err := tlsConfig(ca, cert, key)
		if err != nil {
			return nil, err
		}
		options = append(options, kgo.DialTLSConfig(config))
	}
	mechanism := getenv("ALERTS_SASL_MECHANISM")
	if mechanism == "" {
		return options, nil
	}
	user, password := getenv("ALERTS_USERNAME"), getenv("ALERTS_PASSWORD")
	if name := getenv("ALERTS_PASSWORD_FILE"); name != "" {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("ALERTS_PASSWORD_FILE: %w", err)
		}
		password = strings.TrimRight(string(text), "\r\n")
	}
	switch mechanism {
	case "PLAIN":
		return append(options, kgo.SASL(plain.Auth{User: user, Pass: password}.AsMechanism())), nil
	case "SCRAM-SHA-256":
		return append(options, kgo.SASL(scram.Auth{User: user, Pass: password}.AsSha256Mechanism())), nil
	case "SCRAM-SHA-512":
		return append(options, kgo.SASL(scram.Auth{User: user, Pass: password}.AsSha512Mechanism())), nil
	}
	return nil, fmt.Errorf("ALERTS_SASL_MECHANISM: %q is none of PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512", mechanism)
}

func tlsConfig(ca, cert, key string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("ALERTS_CA_FILE: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("ALERTS_CA_FILE: no certificate in " + ca)
		}
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("ALERTS_CERT_FILE and ALERTS_KEY_FILE: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}
