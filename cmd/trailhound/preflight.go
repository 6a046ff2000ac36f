package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"trailhound/config/duration"
	"trailhound/consumer/kafka/topic"
	"trailhound/consumer/kafka/wire"
)

// Settings of the brokers that may contradict the configuration.
const (
	maxTransaction = "transaction.max.timeout.ms"
	leastSession   = "group.min.session.timeout.ms"
	mostSession    = "group.max.session.timeout.ms"
	groupSize      = "group.max.size"
)

// preflight returns errors that a running service would meet later, again and again:
// brokers without transactions, or with limits that contradict the configuration. Limits
// that brokers do not tell are taken to fit: brokers refuse the service later if they do
// not.
func (s *setup) preflight(ctx context.Context, client *wire.Client) error {
	if err := client.Supported(); err != nil {
		return err
	}
	err := client.Transactional(ctx, s.config.AppID+".shard.0")
	if none, ok := errors.AsType[*wire.NoTransactionsError](err); ok {
		return none
	}
	app := s.topology()
	infos, err := topic.Describe(ctx, client, app.Topics()...)
	if err != nil {
		return err
	}
	limits, err := topic.BrokerSettings(ctx, client, infos, maxTransaction, leastSession, mostSession, groupSize)
	if err != nil {
		return ctx.Err() // this account may lack the right to ask, which run does not need
	}
	return s.checkTimeouts(limits)
}

// checkTimeouts compares the configuration with the brokers' limits.
func (s *setup) checkTimeouts(limits map[string]string) error {
	var wrong []string
	span := func(key string) (time.Duration, bool) {
		ms, err := strconv.ParseInt(limits[key], 10, 32)
		return time.Duration(ms) * time.Millisecond, err == nil && ms > 0
	}
	if most, told := span(maxTransaction); told && s.config.Kafka.TransactionTimeout > most {
		wrong = append(wrong, fmt.Sprintf("kafka.transaction_timeout is %s, but the brokers allow at most %s (%s=%s): lower the one to that, or raise the other",
			duration.Format(s.config.Kafka.TransactionTimeout), duration.Format(most), maxTransaction, limits[maxTransaction]))
	}
	least, toldLeast := span(leastSession)
	most, toldMost := span(mostSession)
	if toldLeast && s.config.Kafka.SessionTimeout < least || toldMost && s.config.Kafka.SessionTimeout > most {
		wrong = append(wrong, fmt.Sprintf("kafka.session_timeout is %s, but the brokers allow from %s to %s (%s=%s, %s=%s): set it between them",
			duration.Format(s.config.Kafka.SessionTimeout), duration.Format(least), duration.Format(most), leastSession, limits[leastSession], mostSession, limits[mostSession]))
	}
	if wrong == nil {
		return nil
	}
	return errors.New(strings.Join(wrong, "\n"))
}
