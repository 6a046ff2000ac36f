package state

import (
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Stats has the size of a Store and the cost of keeping it. Counts are since Open.
type Stats struct {
	DiskBytes         uint64 // of all files
	DiskFreeBytes     uint64 // that are left on the file system for this process; 0: it does not tell
	MemTableBytes     uint64 // not written out yet
	CacheBytes        int64  // blocks in memory
	CacheHits         int64
	CacheMisses       int64
	Flushes           int64
	Compactions       int64
	CompactionDebt    uint64 // estimate of the bytes to merge until nothing is left to do
	ReadAmplification int    // tables that a look-up may have to ask, without their filters
	WriteStalls       int64  // times that writers had to wait for a flush or a compaction

	Shards map[int]ShardStats // of those with anything on disk
}

// ShardStats are estimates of one shard's size on disk. Records written in the last seconds
// are not part of them, and deleted ones are for a while.
type ShardStats struct {
	Keys  int64 // values, members of sets, pages and runs of remembered events, and the indices
	Bytes int64 // compressed
}

// Stats looks at the whole database, but reads next to nothing of it.
func (s *Store) Stats() (Stats, error) {
	if !s.uses.begin() {
		return Stats{}, s.closedError()
	}
	defer s.uses.end()
	if err := s.Err(); err != nil {
		return Stats{}, err // after a failure the holder of the database's locks may never let go of them
	}
	m := s.db.Metrics()
	out := Stats{
		DiskBytes: m.DiskSpaceUsage(), MemTableBytes: m.MemTable.Size,
		CacheBytes: m.BlockCache.Size, CacheHits: m.BlockCache.Hits, CacheMisses: m.BlockCache.Misses,
		Flushes: m.Flush.Count, Compactions: m.Compact.Count, CompactionDebt: m.Compact.EstimatedDebt,
		ReadAmplification: m.ReadAmp(), WriteStalls: s.stalls.Load(),
	}
	if usage, err := s.fs.GetDiskUsage(s.dir); err == nil { // not every file system can tell
		out.DiskFreeBytes = usage.AvailBytes
	}
	var err error
	if out.Shards, err = s.shardStats(); err != nil {
		return out, s.broken(fmt.Errorf("estimate the shards of state %s: %w", s.dir, err))
	}
	return out, nil
}

// shardStats takes all entries to be of the same size: tables do not keep the shards apart,
// and reading them for a number that is seldom looked at would be too much.
func (s *Store) shardStats() (map[int]ShardStats, error) {
	numbers, err := s.Shards()
	if err != nil {
		return nil, err
	}
	levels, err := s.db.SSTables(pebble.WithProperties())
	if err != nil {
		return nil, err
	}
	var entries, size uint64
	for _, tables := range levels {
		for i := range tables {
			t := &tables[i]
			entries += t.Properties.NumEntries - min(2*t.Properties.NumDeletions, t.Properties.NumEntries)
			size += t.Size
		}
	}
	out := make(map[int]ShardStats)
	for _, n := range numbers {
		bytes, err := s.db.EstimateDiskUsage(binary.BigEndian.AppendUint16(nil, uint16(n)), binary.BigEndian.AppendUint16(nil, uint16(n+1)))
		if err != nil {
			return nil, err
		}
		if bytes > 0 && size > 0 { // a table may have come since they were looked at
			out[n] = ShardStats{Keys: int64(float64(entries) * float64(bytes) / float64(size)), Bytes: int64(bytes)}
		}
	}
	return out, nil
}
