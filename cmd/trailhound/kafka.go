package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/rs/zerolog"
	kafkasasl "github.com/segmentio/kafka-go/sasl"
	"github.com/twmb/franz-go/pkg/sasl"       //nolint:depguard // see mechanism
	"github.com/twmb/franz-go/pkg/sasl/oauth" //nolint:depguard // see mechanism
	"github.com/twmb/franz-go/pkg/sasl/plain" //nolint:depguard // see mechanism
	"github.com/twmb/franz-go/pkg/sasl/scram" //nolint:depguard // see mechanism

	"trailhound/config"
	"trailhound/consumer/kafka/wire"
)

// kafkaClient returns a client of the configured cluster. Nothing is dialled before its
// first request; the caller closes it. Errors of files that are replaced later go to the
// log of ctx (zerolog's WithContext).
func (s *setup) kafkaClient(ctx context.Context) (*wire.Client, error) {
	security, err := tlsConfig(s.Kafka.TLS, zerolog.Ctx(ctx))
	if err != nil {
		return nil, err
	}
	client := wire.NewClient(s.Kafka.Brokers, nil, security, mechanism(s.Kafka.SASL))
	client.Transport.ClientID = s.Kafka.ClientID
	client.RequestTimeout, client.Memory = s.Kafka.RequestTimeout, s.memory
	return client, nil
}

// mechanism returns the SASL mechanism, or nil for connections without authentication. The
// mechanisms are franz-go's: kafka-go has plain only, unless a module for SCRAM is added.
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
	case "oauthbearer", "aws-msk-iam":
		return authentication{oauth.Oauth(oauthAuth(s))}
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
	return fileOr("kafka.sasl.password_file", s.PasswordFile, s.Password)
}

// fileOr returns the content of the file that the key names, without its line end; if no
// file is named, value.
func fileOr(key, file, value string) (string, error) {
	if file == "" {
		return value, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	value = strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if value == "" {
		return "", fmt.Errorf("%s: %s is empty", key, file)
	}
	return value, nil
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
	return conversation{session, a.Name()}, first, err
}

// conversation is one authentication under way.
type conversation struct {
	sasl.Session
	mechanism string
}

// Next answers the broker's challenge. A broker that refuses a token gives the reason in a
// challenge (RFC 7628, 3.2.2).
func (c conversation) Next(_ context.Context, challenge []byte) (bool, []byte, error) {
	if c.mechanism == "OAUTHBEARER" && len(challenge) > 0 {
		return false, nil, fmt.Errorf("it says of the token %.200q", challenge)
	}
	return c.Challenge(challenge)
}
