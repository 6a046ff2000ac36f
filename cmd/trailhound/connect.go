package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"

	"trailhound/consumer/wire"
)

// connect returns a client of the configured cluster, of which one broker has answered. The caller closes it.
func (s *settings) connect(ctx context.Context) (*wire.Client, error) {
	client, err := s.kafkaClient()
	if err != nil {
		return nil, err
	}
	reach, cancel := context.WithTimeout(ctx, s.Kafka.RequestTimeout)
	defer cancel()
	if _, err := client.Topics(reach, s.Topics.Input...); err != nil {
		client.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, s.unreachable(err)
	}
	return client, nil
}

// unreachable says why no broker answers, and what to look at. A broker that refuses a password, or that is spoken to
// with TLS where it wants none or without where it wants it, often just hangs up or keeps silent.
func (s *settings) unreachable(err error) error {
	security := "without TLS"
	if s.Kafka.TLS.Enabled {
		security = "with TLS"
	}
	remedy := fmt.Sprintf("is it a Kafka listener %s and with SASL mechanism %q, as kafka.tls and kafka.sasl say?", security, s.Kafka.SASL.Mechanism)
	if s.Kafka.SASL.Mechanism != "none" {
		remedy += " Check the user name and the password too"
	}
	dial, dialed := errors.AsType[*net.OpError](err)
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case dialed && dial.Op == "dial":
		remedy = "start Kafka, or name a broker that runs with --set kafka.brokers=HOST:PORT"
	case untrusted:
		remedy = "name the authority that signs the brokers' certificates in kafka.tls.ca_file, and the name to expect in them, if it is not the host's, in kafka.tls.server_name"
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("nothing came within kafka.request_timeout, %s", s.Kafka.RequestTimeout)
	}
	return fmt.Errorf("no broker of kafka.brokers (%s) answers: %w; %s", strings.Join(s.Kafka.Brokers, ", "), err, remedy)
}

// withKafka runs work with the configuration and a client of its cluster.
func (a *app) withKafka(ctx context.Context, work func(*settings, *wire.Client) error) error {
	s, err := a.settings()
	if err != nil {
		return err
	}
	client, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	return work(s, client)
}
