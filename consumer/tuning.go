package consumer

import "time"

// The sizes and times that this room was tuned with: each has its unit, the two things that it
// trades, and the measurement or the reason behind it. "Bench" is the table of sizes and times
// in cmd/bench/RESULTS.md.

// Requests and transactions: fewer of them cost less, and each waits for more events.
const (
	// lingerEach is how long a request is put off for each record that the one before it
	// carried: a request costs the brokers nearly the same for one record and for a hundred. A
	// lone record goes at once, or a millisecond after the last one; beyond 1/lingerEach
	// records a second, requests grow until they are as far apart as a lingerPolicy allows.
	lingerEach = time.Millisecond

	// lingerShare is the part of its age that an event may be put off for: a tenth of a second
	// does not count for an event that has lain in a backlog for a second.
	lingerShare = 10

	// commitShare is how many times as long as its commit a batch takes at least: commits
	// take at most a fifth of the time.
	commitShare = 4

	// The bounds of a transaction: memory against the brokers' cost of one (bench: a transaction). A
	// thousand changed keys take more memory than four thousand events of a few.
	batchEvents  = 6_300
	batchChanges = 1_400   // changelog records
	batchBytes   = 1 << 20 // of state changes, alerts and dead letters

	// bundleBytes is the size at which the entries of a work record are packed, while they are
	// in the processor's cache (bench: work; other records are packed). A single entry may be
	// larger.
	bundleBytes = 64 << 10

	// batchFraming is the room in bytes for a batch's header and one record's framing, in the
	// limit of a topic.
	batchFraming = 1 << 10

	// Expired keys that leave with one transaction: at least so many, and for each of its
	// changelog records. More than a batch adds, or a backlog would grow the state faster than it
	// is swept.
	sweepPerCommit = 2_000
	sweepPerChange = 4
)

// commitPace is that of the transactions of one shard: latency against the brokers' work (bench:
// between commits).
var commitPace = lingerPolicy{usual: 75 * time.Millisecond, behind: time.Second}

// Positions: records read again after a crash, against requests.
const (
	commitEvery  = time.Second      // group commits; records read since the last one are read again after a crash, and dropped
	lazyCommit   = 60 * time.Second // a position that moved without a change is committed after this long (PROTOCOL D8)
	flushWithin  = 10 * time.Second // at the end of a run; the next owner sends records again that are not acknowledged by then
	commitWithin = 5 * time.Second  // at the end of a run; the next owner reads records again that are not committed by then

	// routedFor is how long the sources read from the changelogs are taken for true, so that
	// the partitions that an instance opens together read them once.
	routedFor = time.Minute

	// mostOpening is how many input partitions are opened at the same time: each takes connections
	// of its own for its requests, and a thousand may be assigned at once.
	mostOpening = 8
)

// Upkeep of a shard, for which its evaluation waits: seldom, and briefly.
const (
	learnEvery  = 10 * time.Second // LearnEpoch of the changelog
	learnWithin = 2 * time.Second  // longest LearnEpoch
	leaveWithin = time.Second      // the same at the end, for which the next owner waits
	trimEvery   = 30 * time.Second // DeleteRecords on the work topic, which costs disk until then
	trimWithin  = 2 * time.Second  // longest DeleteRecords

	// stableWithin is how long a restore waits for an open transaction beyond the time after
	// which the broker itself must have ended it.
	stableWithin = 30 * time.Second

	watchEvery = 500 * time.Millisecond // at which Service.Restoring is called: for eyes
)

// Time marks: how well the shards know the time of the inputs, against records of work.
const (
	// markStep is how far in event time a partition moves on before each shard is told. The
	// horizon, by which values are swept a week later, needs no better.
	markStep = 12 * time.Hour

	// markEvery is how often each shard is told the offset reached in a partition that it gets
	// no events of: reading goes on there when the group's offsets have expired (PROTOCOL R7).
	markEvery = 10 * time.Minute

	// busyEvery is the same while a backlog is read. A former router of the partition may have
	// sent its idle mark at a later offset: marks below that are dropped as repeats, and sent
	// again behind it.
	busyEvery = 10 * time.Second
)

// Alignment: the drift between input partitions, against requests to the group's coordinator.
const (
	// alignSteps is the number of steps of event time in which a partition that is max_drift
	// behind comes up to the others; each step is committed for the other instances.
	alignSteps = 8

	// alignPatience is how long the slowest partition may stand still, without a leader or an
	// owner, before the others go on without it.
	alignPatience = 30 * time.Second

	// alignShow is how long a partition at work may keep its time before the other instances
	// are told that its router moves; their counter of such moves wraps at mostSteps.
	alignShow = alignPatience / 3

	// alignBlind bounds the gap between two looks at the partitions' progress. A longer gap is
	// time in which this instance was stopped, or had no answer.
	alignBlind = 5 * time.Second

	// alignEvery is how often an instance reads the committed offsets of the partitions of others.
	alignEvery = time.Second
	// alignTight is the least of these pauses, and of those between commits, while any
	// partition waits. requestPause multiplies it by the number of instances: the coordinator
	// that they share gets a hundred of these requests a second from any number of them.
	alignTight = 10 * time.Millisecond
	// alignSlow is the longest pause between two looks while nothing changes, unless
	// alignPause is longer.
	alignSlow = 100 * time.Millisecond

	// backlogAfter is how long records must have been left behind each fetch before a
	// partition that was alive counts as one with a backlog.
	backlogAfter = 2 * time.Second

	// clockSamples is the number of records of which the median is a partition's event time: a
	// few records that are hours off do not move it.
	clockSamples = 9

	// clockLeast is the number of samples that move a known time. An unknown time becomes
	// that of the first record: all other partitions wait for it.
	clockLeast = 5
)

// The watch: a standstill that is told late, against one told for nothing (measured in "How soon
// a standstill is told" of cmd/bench/RESULTS.md).
const (
	lookEvery     = time.Second
	stalledLooks  = 5   // looks without progress after which a partition is not ready: an operator knows within 10 s
	handBackLooks = 25  // the same, after which another instance shall have it: within 45 s it works there
	heldLooks     = 8   // looks at a stable offset held back by a transaction, after which an input is not ready
	suspectLooks  = 120 // looks after a hand-back in which the next one needs stalledLooks only
	remedyLooks   = 60  // looks at a held stable offset after which the log has the remedy
	mostHeld      = 900 // looks that a held stable offset may last before it is told, whatever former ones lasted
	probeLooks    = 5   // looks between two requests for the end of a log that is not being fetched

	// avoidFor is how long the group is told that another member should have a partition.
	// Where all members say so, it is shared out as any other.
	avoidFor = 30 * time.Minute

	// unanswered is how long a request has waited before it is named.
	unanswered = 2 * time.Second

	// beatEvery is how many records, or events, a router handles between two beats.
	beatEvery = 64

	// beatBytes is how large a record or an event is that has a beat of its own: tens of MiB take
	// a second of a busy processor, and 64 of them would look like a router that stands still.
	beatBytes = 256 << 10
)

// Retries and checks: how soon trouble is over or told, against requests and lines of the log.
const (
	backoffLeast = 50 * time.Millisecond
	backoffMost  = 5 * time.Second // the longest pause between attempts that must go on for ever

	// troubled is the number of failures in a row, a second or so, after which an instance is
	// not ready; shorter trouble needs no operator.
	troubled = 5

	// coordinatorTries is how often the coordinator of a group may be loading, moving or not
	// there yet before that is news: some seconds, in which a new cluster makes
	// __consumer_offsets.
	coordinatorTries = 9

	topicsEvery  = time.Minute      // looks at the settings of the topics while the service runs
	flippedEvery = 10 * time.Second // the same while a setting loses records

	noisyBurst  = 5 // lines about hostile input in noisyPeriod that are logged
	noisyPeriod = 10 * time.Second
)

// Large and hostile records: their cost, against that of a note, or of memory, for each.
const (
	mostEnds     = 2         // of the process, before a record is not tried again
	mostSuspects = 16        // records that are remembered as having ended the process
	leastNoted   = 256 << 10 // bytes of a record of a large batch that is noted by itself
	internLimit  = 1024      // names that an interner keeps
)

// Fetches: memory for each partition, against requests and connections.
const (
	fetchWait   = time.Second // long poll: an idle partition is part of one request a second
	inputMemory = 8 << 20     // bytes for the buffers of all prefetchers of inputs, if leastFetch allows it
	workMemory  = 2 << 20     // the same of work: a twentieth of the events goes there
	mostFetch   = 1 << 20     // bytes of a fetch of a partition that reads ahead

	// leastShare is the smallest buffer of a request, in bytes: below it the cost of a request
	// exceeds that of its records.
	leastShare = 128 << 10

	// leastFetch is the smallest fetch of one of many partitions, which share requests.
	leastFetch = 32 << 10

	// manyMemory is how many times their memory many prefetchers hold without reading ahead,
	// as long as each gets more than leastFetch: the cost of a smaller fetch exceeds that of
	// its records.
	manyMemory = 4

	// Up to fewInputs inputs and fewShards shards that one broker leads have fetch requests of
	// their own. A backlog of inputs is worth as many connections; shards have less to read.
	fewInputs = 64
	fewShards = 16
)

// Batches of the work and the dead-letter topic: memory, against requests.
const (
	producerMemory    = 3 << 20   // bytes for the batches that all partition producers of a topic fill, if leastShare allows it
	mostProducerBytes = 512 << 10 // bytes of the batches of one of them
	mostUnpacked      = 4 << 20   // bytes of a batch before it is packed
)

// producerLinger is that of the produce requests to one partition.
var producerLinger = lingerPolicy{usual: 30 * time.Millisecond, behind: 120 * time.Millisecond}
