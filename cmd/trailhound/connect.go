package main

import (
	"context"

	"github.com/rs/zerolog"

	"trailhound/consumer/kafka/security"
	"trailhound/consumer/kafka/wire"
)

// connect returns a client of the configured cluster, once one broker has answered. The
// caller closes it. The error of a missing or invalid file is config.Problems.
func (s *setup) connect(ctx context.Context) (*wire.Client, error) {
	if err := s.checkPaths(false); err != nil {
		return nil, err
	}
	client, err := s.kafkaClient(ctx)
	if err != nil {
		return nil, err
	}
	reach, cancel := context.WithTimeout(ctx, s.config.Kafka.RequestTimeout)
	defer cancel()
	if _, err := client.Topics(reach, s.config.Topics.Input...); err != nil {
		client.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, s.unreachable(err)
	}
	return client, nil
}

// kafkaClient returns a client of the configured cluster. Nothing is dialled before its
// first request; the caller closes it. Errors of files that are replaced later go to the
// log of ctx (zerolog's WithContext).
func (s *setup) kafkaClient(ctx context.Context) (*wire.Client, error) {
	encryption, err := security.TLS(s.config.Kafka.TLS).Config(zerolog.Ctx(ctx))
	if err != nil {
		return nil, err
	}
	c := s.config.Kafka.SASL
	client := wire.NewClient(s.config.Kafka.Brokers, nil, encryption, security.NewMechanism(security.SASL{
		Mechanism: c.Mechanism, Username: c.Username, Password: c.Password, PasswordFile: c.PasswordFile,
		Token: c.Token, TokenFile: c.TokenFile, OAuth: security.OAuth(c.OAuth), AWSRegion: c.AWSRegion,
	}))
	client.Transport.ClientID = s.config.Kafka.ClientID
	client.RequestTimeout, client.Memory = s.config.Kafka.RequestTimeout, s.memory
	return client, nil
}

// withKafka runs work with the configuration and a client of its cluster.
func (a *app) withKafka(ctx context.Context, work func(*setup, *wire.Client) error) error {
	s, err := a.setup()
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
