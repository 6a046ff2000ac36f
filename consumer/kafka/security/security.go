// Package security is how a client of brokers shows an account, and checks that it talks to
// the brokers: SASL mechanisms and TLS.
//
// [SASL] and [TLS] have the keys of the configuration, and make the mechanism and the dialer
// that wire.NewClient takes.
//
// Its one guarantee: the files of passwords, tokens and certificates are read anew for each
// connection, so that they can be replaced under a running service.
package security

import (
	"context"
	"fmt"
	"os"
	"strings"

	kafkasasl "github.com/segmentio/kafka-go/sasl"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// SASL is the authentication to the brokers: kafka.sasl of the configuration, which the
// errors name.
type SASL struct {
	Mechanism    string // as in the configuration; "" or none: no authentication
	Username     string
	Password     string
	PasswordFile string // holds the password instead
	Token        string
	TokenFile    string // holds the token instead
	OAuth        OAuth
	AWSRegion    string
}

// NewMechanism returns the SASL mechanism, or nil for connections without authentication. The
// mechanisms are franz-go's: kafka-go has plain only, unless a module for SCRAM is added.
func NewMechanism(s SASL) kafkasasl.Mechanism {
	switch s.Mechanism {
	case "plain":
		return authentication{plain.Plain(func(context.Context) (plain.Auth, error) {
			password, err := s.password()
			return plain.Auth{User: s.Username, Pass: password}, err
		})}
	case "scram-sha-256":
		return authentication{scram.Sha256(s.scram)}
	case "scram-sha-512":
		return authentication{scram.Sha512(s.scram)}
	case "oauthbearer", "aws-msk-iam":
		return authentication{oauth.Oauth(s.oauth())}
	}
	return nil
}

func (s SASL) scram(context.Context) (scram.Auth, error) {
	password, err := s.password()
	return scram.Auth{User: s.Username, Pass: password}, err
}

// password returns the password; the file is read at each use, so that a secret can be
// replaced under a running service.
func (s SASL) password() (string, error) {
	return Secret("kafka.sasl.password_file", s.PasswordFile, s.Password)
}

// Secret returns the content of the file that the key of the configuration names, without
// its line end; if no file is named, value. An empty file is an error.
func Secret(key, file, value string) (string, error) {
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
