package cloudtrail

// The constants that trade something, with their unit and the evidence for them. Bounds
// that a Decoder is told otherwise begin with Default.
const (
	// DefaultMaxUnpacked is how many bytes a record may unpack to unless a Decoder
	// says otherwise: 256 MiB.
	DefaultMaxUnpacked = 256 << 20

	// DefaultMaxHeld is how many unpacked bytes a Decoder holds at a time unless it says
	// otherwise, and how large a record of a Splitter may be: 64 MiB. CloudTrail's own events
	// have at most 1 MiB, an envelope of CloudWatch Logs or SNS around several of them 6 MiB.
	DefaultMaxHeld = 64 << 20

	// DefaultScratch is the Scratch of a Decoder that does not say otherwise: 512 KiB.
	DefaultScratch = 512 << 10

	// maxEnvelopes is how many envelopes may lie in one another. Each costs
	// another pass over the bytes.
	maxEnvelopes = 8

	// maxErrors is how many errors one record may yield. Without it a small
	// gzip full of newlines and junk would keep its reader busy for minutes.
	maxErrors = 10_000

	// eventShares is the number of parts of MaxHeld, of which an event may take one, and
	// leastEvent the size in bytes that an event may have in any case: CloudTrail's own have
	// no more.
	eventShares = 32
	leastEvent  = 1 << 20

	// lookupLayers is how many strings may lie in one another around a string of an event
	// that rules look up: userIdentity, sessionContext, sessionIssuer and arn.
	lookupLayers = 4

	// measuredText is the size in bytes from which on a string's unpacked size is counted
	// before room is made for it: a pass over the string for a growing buffer, which takes
	// more memory than its final size.
	measuredText = 16 << 10

	// scratchPerPlace is how many bytes of Scratch there are for each place that is
	// remembered: a node of the predictor takes 170, so it takes less than the buffers.
	scratchPerPlace = 256

	// maxWindow is how many bytes of a gzip file are unpacked at a time, unless a value in
	// it is larger; minWindow is that of a Decoder with next to no Scratch.
	maxWindow = 64 << 10
	minWindow = 64

	// progressEvery is how many bytes are unpacked between two calls of Decoder.Progress.
	progressEvery = 1 << 20

	// gzipPaddingSeen is the most padding in bytes behind which a Decoder still looks for gzip.
	gzipPaddingSeen = 64 << 10

	// eagerRescan is the size in bytes up to which an incomplete value is scanned anew after
	// each read. Beyond it the next scan waits until the value's bytes have doubled, so that
	// it costs no more than a few passes however it trickles in.
	eagerRescan = 16 << 10

	// maxEmptyReads is how often a reader may return nothing and no error, as for bufio.
	maxEmptyReads = 100

	// splitterBuffer is how many bytes of a file a Splitter reads at a time.
	splitterBuffer = 256 << 10

	// manyMembers is the size up to which the names of an object's members are compared one by one
	// when its strings are appended; those of a larger one, which may have been made to cost
	// time, are looked up in a map. Most objects of events have fewer.
	manyMembers = 32

	// quoted is how many bytes of a value from an event are shown in a message.
	quoted = 64
)
