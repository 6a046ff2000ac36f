package main

import (
	"context"

	"github.com/rs/zerolog"

	"trailhound/consumer/admin"
	"trailhound/consumer/kafka/wire"
	"trailhound/state"
)

// What an instance opens files for, beside the state and the HTTP server: at most so many connections to brokers for
// each input partition and for each shard, and what the process and Pebble's compactions have open.
const (
	filesOfPartition = 2
	filesOfShard     = 4
	filesOfProcess   = 128
)

// neededFiles is how many open files an instance may need that is alone with all partitions and shards.
func neededFiles(partitions, shards int) int {
	return filesOfProcess + admin.MaxConnections + state.MaxOpenFiles + filesOfPartition*partitions + filesOfShard*shards
}

// warnOfFewFiles warns when the limit of open files is below what the instance may need: beyond it connections fail,
// and the state ends the process. Go raises the soft limit to the hard one when a process starts.
// https://pkg.go.dev/os#section-documentation
func (s *settings) warnOfFewFiles(ctx context.Context, client *wire.Client, log zerolog.Logger) {
	limit, ok := openFilesLimit()
	if !ok {
		return
	}
	topics, err := client.Topics(ctx, s.Topics.Input...)
	if err != nil {
		return // a guess is not worth a failure: the service will ask again, and say so
	}
	partitions := 0
	for _, t := range topics {
		partitions += len(t.Partitions)
	}
	if needed := neededFiles(partitions, s.Shards); limit < uint64(needed) {
		log.Warn().Uint64("limit", limit).Int("needed", needed).Int("partitions", partitions).Int("shards", s.Shards).Str("event", "few_open_files").
			Str("remedy", "raise the hard limit of open files: LimitNOFILE= of systemd, --ulimit nofile= of a container, ulimit -Hn").
			Msg("the limit of open files is lower than what an instance needs that has all partitions and shards")
	}
}
