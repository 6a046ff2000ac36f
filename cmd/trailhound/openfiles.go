package main

import (
	"context"

	"github.com/rs/zerolog"

	"trailhound/consumer/admin"
	"trailhound/consumer/kafka/wire"
	"trailhound/state"
)

// Files that an instance opens beside those of the state and the HTTP server: connections
// to brokers for each input partition and each shard, at most, and the files of the process
// and of Pebble's compactions.
const (
	filesOfPartition = 2
	filesOfShard     = 4
	filesOfProcess   = 128
)

// neededFiles returns how many open files an instance may need when it owns all partitions
// and shards.
func neededFiles(partitions, shards int) int {
	return filesOfProcess + admin.MaxConnections + state.MaxOpenFiles + filesOfPartition*partitions + filesOfShard*shards
}

// warnOfFewFiles warns when the limit of open files is below the instance's need: beyond the
// limit connections fail, and the state ends the process. Go raises the soft limit to the
// hard one when a process starts. https://pkg.go.dev/os#section-documentation
func (s *setup) warnOfFewFiles(ctx context.Context, client *wire.Client, log zerolog.Logger) {
	limit, ok := openFilesLimit()
	if !ok {
		return
	}
	topics, err := client.Topics(ctx, s.config.Topics.Input...)
	if err != nil {
		return // a warning is not worth a failure: the service asks again, and reports the error
	}
	partitions := 0
	for _, t := range topics {
		partitions += len(t.Partitions)
	}
	if needed := neededFiles(partitions, s.config.Shards); limit < uint64(needed) {
		log.Warn().Uint64("limit", limit).Int("needed", needed).Int("partitions", partitions).Int("shards", s.config.Shards).Str("event", "few_open_files").
			Str("remedy", "raise the hard limit of open files: LimitNOFILE= of systemd, --ulimit nofile= of a container, ulimit -Hn").
			Msg("the limit of open files is lower than what an instance needs that has all partitions and shards")
	}
}
