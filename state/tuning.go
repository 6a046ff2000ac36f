package state

import "time"

// The sizes and times that this package was tuned with: each has its unit, the two things that
// it trades, and the measurement or the reason behind it. "Bench" is the table of sizes and
// times in cmd/bench/RESULTS.md. Those that a record or a file depends on are not here: they
// stand with their format (FORMAT.md).

// Pebble: memory, against CPU and bytes written.
const (
	// DefaultCacheBytes is the default of Options.CacheBytes (bench: cache).
	DefaultCacheBytes = 4 << 20

	// A memtable is half as large as the cache, within bounds in bytes: large ones are written
	// to disk less often, and merged with less work (bench: memtable). With 2 MiB an instance
	// in which every event matches takes 7 % more CPU; between 3 and 8 MiB that did not show.
	leastMemTable = 3 << 20
	mostMemTable  = 16 << 20

	// MaxOpenFiles is how many files a store holds open at the most, beside a few while it
	// compacts.
	MaxOpenFiles = 512

	// waitingTables is how many tables wait for a compaction (bench: tables that wait for a
	// compaction), mostWaiting how many stop the writers, and mostFiles how many files make a
	// compaction due however they overlap. With small memtables most bytes that compactions
	// write have been written before. A look-up passes over the tables that cannot hold its
	// key by their Bloom filters.
	waitingTables = 32
	mostWaiting   = 80
	mostFiles     = 1000

	// bloomBits is the size in bits of a key in the Bloom filter of a table: one look-up in a
	// hundred reads the table for nothing.
	bloomBits = 10

	// indexBlock is the size in bytes of a block of a table's index: one level for each table.
	indexBlock = 256 << 10
)

// The disk: changes that the changelog brings again after a kill, against writes; and a hung
// call that is told late, against one told for nothing.
const (
	// flushEvery is how long applied changes may stay in memory. After a kill, or a loss of
	// power, the changelog brings them again.
	flushEvery = 10 * time.Second

	looksPerStall  = 30 // looks of the watch within Options.Stall (TestHungDisk)
	looksPerNotice = 5  // looks after which Stalled tells of a call
	callSlots      = 64 // calls that are watched at a time
)

// The value cache of a shard: memory, against look-ups in Pebble (bench: values that a shard
// keeps in memory).
const (
	cacheSlots = 1 << 13   // values of one shard
	cacheBytes = 512 << 10 // bytes of them together

	// cacheMost is the size in bytes of a key and its value that are kept: a counter with ten
	// events as evidence has 800 (TestValueCacheForgetsWhatBecameLarge).
	cacheMost = 1 << 10
)

// Events that were evaluated (bench: events that were evaluated): memory, against look-ups on
// disk.
const (
	// runEvents is how many events a run has, if they are not too many. Memory for a shard's
	// fresh events is 32 bytes for each of them, or more until the table is full
	// (TestFreshEvents).
	runEvents = 1 << 13

	// manyRuns is how many runs of runEvents there are at most, as a look-up asks the filter of
	// each; beyond it new runs are larger. As many more are made while the events become 2.7
	// times as many, so that there are some hundred in the end (TestRunsStayFew).
	manyRuns = 64
)

// Evidence of sets: memory, against another read of all members (BenchmarkAlertsOfASet,
// BenchmarkAlertOfAFullSet).
const (
	// Of keptEvents events or more the older ones are dropped; with fewer than leastEvents
	// left, all members are read again.
	keptEvents  = 4 * maxEvidence
	leastEvents = 3 * maxEvidence

	keptEventsOf = 2   // sets in a shard's keptSetEvents
	largeSet     = 200 // events from which on keeping them is worth its memory
)

// Buffers that are used again: the memory that one large batch leaves behind, against
// allocations in the next (.ci/allocations.txt).
const (
	keptSets      = 3    // change sets of a store; there are seldom more at a time (TestShardsShareChangeSets)
	keptItems     = 4096 // values of a pool
	keptMembers   = 256  // members of a table of a set
	chunkBytes    = 16 << 10
	maxChunkBytes = 1 << 20 // of an arena's last chunk; its first has chunkBytes
)
