package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"trailhound/config/duration"
	"trailhound/consumer/kafka/wire"
)

// unreachable gives the cause why no broker answers, and the remedy. A broker that expects
// TLS and gets none, or the reverse, often just hangs up or stays silent.
func (s *setup) unreachable(err error) error {
	if missing, ok := errors.AsType[*wire.CredentialError](err); ok {
		return missing
	}
	if other, ok := errors.AsType[*wire.AdvertisedError](err); ok {
		return other
	}
	remedy := s.remedy(err)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("nothing came within kafka.request_timeout, %s", duration.Format(s.config.Kafka.RequestTimeout))
	}
	if other, ok := errors.AsType[*wire.ForeignError](err); ok {
		err = other // without the outer error: a foreign answer implies that no request was sent
	}
	return fmt.Errorf("no broker of kafka.brokers (%s) answers: %w; %s", strings.Join(s.config.Kafka.Brokers, ", "), err, remedy)
}

func (s *setup) remedy(err error) string {
	if refused, ok := errors.AsType[*wire.AuthenticationError](err); ok {
		return s.refusedRemedy(refused)
	}
	if remedy := s.tlsRemedy(err); remedy != "" {
		return remedy
	}
	if other, ok := errors.AsType[*wire.ForeignError](err); ok {
		if other.TLS() {
			return "set kafka.tls.enabled: true, or name a listener without TLS in kafka.brokers"
		}
		return "name the port of a Kafka listener in kafka.brokers"
	}
	if dial, ok := errors.AsType[*net.OpError](err); ok && dial.Op == "dial" {
		return "start Kafka, or name a broker that runs with --set kafka.brokers=HOST:PORT"
	}
	security := "without TLS"
	if s.config.Kafka.TLS.Enabled {
		security = "with TLS"
	}
	remedy := fmt.Sprintf("is it a Kafka listener %s and with SASL mechanism %q, as kafka.tls and kafka.sasl say?", security, s.config.Kafka.SASL.Mechanism)
	if s.config.Kafka.SASL.Mechanism != "none" {
		remedy += " Check the user name and the password too"
	}
	return remedy
}

// refusedRemedy is the remedy where a broker refuses the credentials.
func (s *setup) refusedRemedy(err *wire.AuthenticationError) string {
	switch {
	case err.Offered != nil:
		return "set kafka.sasl.mechanism to what this listener takes, or name another listener in kafka.brokers"
	case !errors.Is(err, kafka.SASLAuthenticationFailed):
		return fmt.Sprintf("is it a Kafka listener with SASL mechanism %q, as kafka.sasl says? Check the user name and the password too", s.config.Kafka.SASL.Mechanism)
	}
	switch s.config.Kafka.SASL.Mechanism {
	case "oauthbearer":
		return "check the token of kafka.sasl: its issuer, its audience, its scope and its end"
	case "aws-msk-iam":
		return "check that the AWS credentials of this process are not over, and that their policy allows kafka-cluster:Connect on the cluster"
	}
	return "check kafka.sasl.username and the password"
}

// tlsRemedy returns the remedy of an error of TLS, or "" if err is another.
func (s *setup) tlsRemedy(err error) string {
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return "the certificate of the broker, or of the authority in kafka.tls.ca_file, is not valid now: renew it, or set this machine's clock"
	}
	if _, untrusted := errors.AsType[*tls.CertificateVerificationError](err); untrusted {
		return "name the authority that signs the brokers' certificates in kafka.tls.ca_file, and the name to expect in them, if it is not the host's, in kafka.tls.server_name"
	}
	if alert, ok := errors.AsType[*net.OpError](err); ok && alert.Op == "remote error" {
		return s.alertRemedy()
	}
	return ""
}

// alertRemedy is the remedy where a broker ends the TLS handshake, as for a client
// certificate that it refuses. Brokers seldom give the reason.
func (s *setup) alertRemedy() string {
	t := s.config.Kafka.TLS
	if t.CertFile == "" {
		return "does it want a client certificate? Then give kafka.tls.cert_file and kafka.tls.key_file"
	}
	if pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile); err == nil && pair.Leaf != nil {
		if now := time.Now(); now.After(pair.Leaf.NotAfter) || now.Before(pair.Leaf.NotBefore) {
			return fmt.Sprintf("the certificate in kafka.tls.cert_file is valid from %s to %s only: renew it",
				pair.Leaf.NotBefore.UTC().Format(time.RFC3339), pair.Leaf.NotAfter.UTC().Format(time.RFC3339))
		}
		return fmt.Sprintf("do the brokers trust the authority that signed kafka.tls.cert_file (%s)?", pair.Leaf.Issuer)
	}
	return "check kafka.tls.cert_file"
}
