// This program takes trailhound's alerts from Kafka into a file, one line for
// each, and each of them once:
//
//   - aborted transactions are not seen (read committed);
//   - the file is on the disk before the position is committed to Kafka. A
//     program that is killed in between gets the alerts again, and knows them by
//     the ids in its file;
//   - alerts of events that are evaluated again repeat ids, and nothing happens.
//
// A file belongs to one process. Several processes of a group need one place
// between them where the ids are, such as a table with the id as its primary key.
//
// Settings come from the environment:
//
//	ALERTS_BROKERS         127.0.0.1:9092   host:port, comma-separated
//	ALERTS_TOPIC           alerts
//	ALERTS_GROUP           alert-file       the consumer group
//	ALERTS_FILE            alerts.jsonl     where alerts go
//	ALERTS_REMEMBER        1000000          how many ids are known, the newest ones
//	ALERTS_SESSION         45s              after which the partitions of one that was killed go to others
//	ALERTS_TLS             false            true: TLS, with the system's authorities
//	ALERTS_CA_FILE                          PEM of other authorities; implies TLS
//	ALERTS_CERT_FILE, ALERTS_KEY_FILE       PEM of a client certificate; implies TLS
//	ALERTS_SASL_MECHANISM                   PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512
//	ALERTS_USERNAME, ALERTS_PASSWORD        or ALERTS_PASSWORD_FILE
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func main() {
	if args := os.Args[1:]; len(args) > 0 { //nolint:forbidigo // a program of one file
		fmt.Fprint(os.Stderr, usage) //nolint:forbidigo // a program of one file
		if args[0] == "-h" || args[0] == "--help" {
			return
		}
		os.Exit(2) //nolint:forbidigo // a program of one file
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := run(ctx, os.Getenv, os.Stderr) //nolint:forbidigo // a program of one file
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err) //nolint:forbidigo // a program of one file
		os.Exit(1)                   //nolint:forbidigo // a program of one file
	}
}

const usage = `This program takes no arguments: settings come from the environment, and are
told in the head of main.go. It reads ALERTS_TOPIC (alerts) at ALERTS_BROKERS
(127.0.0.1:9092) in the group ALERTS_GROUP (alert-file), and writes ALERTS_FILE
(alerts.jsonl).
`

// run takes alerts until ctx ends.
func run(ctx context.Context, getenv func(string) string, stderr io.Writer) (err error) {
	remember, err := strconv.Atoi(cmp.Or(getenv("ALERTS_REMEMBER"), "1000000"))
	if err != nil || remember < 1 {
		return fmt.Errorf("ALERTS_REMEMBER: %q is no number of ids above 0", getenv("ALERTS_REMEMBER"))
	}
	file, err := openFile(cmp.Or(getenv("ALERTS_FILE"), "alerts.jsonl"), remember)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.close()) }()
	session, err := time.ParseDuration(cmp.Or(getenv("ALERTS_SESSION"), "45s"))
	if err != nil {
		return fmt.Errorf("ALERTS_SESSION: %w", err)
	}
	options, err := connection(getenv)
	if err != nil {
		return err
	}
	topic := cmp.Or(getenv("ALERTS_TOPIC"), "alerts")
	client, err := kgo.NewClient(append(options,
		kgo.ConsumeTopics(topic),
		kgo.ConsumerGroup(cmp.Or(getenv("ALERTS_GROUP"), "alert-file")),
		kgo.SessionTimeout(session),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(), // polled records are committed before their partition can move
	)...)
	if err != nil {
		return err
	}
	defer client.CloseAllowingRebalance()
	if err := reach(ctx, client, topic); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	for ctx.Err() == nil {
		fetches := client.PollRecords(ctx, 500)
		fetches.EachError(func(topic string, partition int32, err error) {
			if ctx.Err() == nil { // the client tries again by itself
				fmt.Fprintf(stderr, "topic %s partition %d: %v\n", topic, partition, err)
			}
		})
		records := fetches.Records()
		if err := file.take(records, stderr); err != nil {
			return err
		}
		if err := commit(ctx, client, records); err != nil {
			fmt.Fprintf(stderr, "positions are not committed, what was taken comes again: %v\n", err)
		}
		client.AllowRebalance()
	}
	return nil
}

// reachWithin is how long the brokers may take to answer at the start.
const reachWithin = 15 * time.Second

// reach says why there is nothing to read: the client tries for ever, and a wrong
// address or a mistyped topic would be silent.
func reach(ctx context.Context, client *kgo.Client, topic string) error {
	ctx, cancel := context.WithTimeout(ctx, reachWithin)
	defer cancel()
	if err := client.Ping(ctx); err != nil {
		return fmt.Errorf("no broker of ALERTS_BROKERS answers: %w", err)
	}
	req := kmsg.NewPtrMetadataRequest()
	asked := kmsg.NewMetadataRequestTopic()
	asked.Topic = kmsg.StringPtr(topic)
	req.Topics = append(req.Topics, asked)
	res, err := req.RequestWith(ctx, client)
	if err != nil {
		return fmt.Errorf("ALERTS_TOPIC: look up topic %s: %w", topic, err)
	}
	for _, t := range res.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return fmt.Errorf("ALERTS_TOPIC: topic %s cannot be read: %w", topic, err)
		}
	}
	return nil
}

// commitWithin bounds a commit: nothing is lost with one, and a program that is
// told to end shall do so.
const commitWithin = 10 * time.Second

// commit tells Kafka that the records are taken, also when ctx has just ended.
func commit(ctx context.Context, client *kgo.Client, records []*kgo.Record) error {
	if len(records) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitWithin)
	defer cancel()
	return client.CommitRecords(ctx, records...)
}
