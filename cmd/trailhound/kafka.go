package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"

	kafkasasl "github.com/segmentio/kafka-go/sasl"
	"github.com/twmb/franz-go/pkg/sasl"       //nolint:depguard // see mechanism
	"github.com/twmb/franz-go/pkg/sasl/plain" //nolint:depguard // see mechanism
	"github.com/twmb/franz-go/pkg/sasl/scram" //nolint:depguard // see mechanism

	"trailhound/config"
	"trailhound/consumer/wire"
)

// kafkaClient returns a client of the configured cluster. Nothing is dialled before its first request; the caller
// closes it.
func (s *settings) kafkaClient() (*wire.Client, error) {
	security, err := tlsConfig(s.Kafka.TLS)
	if err != nil {
		return nil, err
	}
	client := wire.NewClient(s.Kafka.Brokers, nil, security, mechanism(s.Kafka.SASL))
	client.Transport.ClientID = s.Kafka.ClientID
	client.RequestTimeout = s.Kafka.RequestTimeout
	return client, nil
}

// tlsConfig returns nil for connections without TLS.
func tlsConfig(t config.TLS) (*tls.Config, error) {
	if !t.Enabled {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("kafka.tls.ca_file: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("kafka.tls.ca_file: there is no PEM certificate in %s", t.CAFile)
		}
	}
	if t.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("kafka.tls.cert_file and kafka.tls.key_file: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// mechanism returns nil for connections without authentication. The mechanisms are franz-go's: kafka-go has plain
// only, unless a module for SCRAM is added.
func mechanism(s config.SASL) kafkasasl.Mechanism {
	switch s.Mechanism {
	case "plain":
		return authentication{plain.Plain(func(context.Context) (plain.Auth, error) {
			password, err := password(s)
			return plain.Auth{User: s.Username, Pass: password}, err
		})}
	case "scram-sha-256":
		return authentication{scram.Sha256(scramAuth(s))}
	case "scram-sha-512":
		return authentication{scram.Sha512(scramAuth(s))}
	}
	return nil
}

func scramAuth(s config.SASL) func(context.Context) (scram.Auth, error) {
	return func(context.Context) (scram.Auth, error) {
		password, err := password(s)
		return scram.Auth{User: s.Username, Pass: password}, err
	}
}

// password returns the password; the file is read at each use, so that a secret can be replaced under a running
// service.
func password(s config.SASL) (string, error) {
	if s.PasswordFile == "" {
		return s.Password, nil
	}
	text, err := os.ReadFile(s.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("kafka.sasl.password_file: %w", err)
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r"), nil
}

// authentication gives a mechanism of franz-go to kafka-go.
type authentication struct{ sasl.Mechanism }

// Start begins the authentication of one connection.
func (a authentication) Start(ctx context.Context) (kafkasasl.StateMachine, []byte, error) {
	host := ""
	if m := kafkasasl.MetadataFromContext(ctx); m != nil {
		host = m.Host
	}
	session, first, err := a.Authenticate(ctx, host)
	return conversation{session}, first, err
}

// conversation is one authentication under way.
type conversation struct{ sasl.Session }

// Next answers the broker's challenge.
func (c conversation) Next(_ context.Context, challenge []byte) (bool, []byte, error) {
	return c.Challenge(challenge)
}
