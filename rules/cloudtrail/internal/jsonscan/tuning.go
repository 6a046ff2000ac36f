package jsonscan

// The constants that trade time for memory, or for another time, with the evidence for them.
const (
	// fewNodes is how many nodes a predictor begins with, of 170 bytes each; they are doubled
	// when they are full. MaxNodes is the most that it may have. Thirteen events of one account
	// took two hundred nodes, four thousand of several accounts more than there are; bytes
	// without a node are read without prediction.
	fewNodes = 256
	MaxNodes = 2048

	// maxSlots and maxProbes are the size of the hash table of nodes, and how many slots are
	// looked at for a name: names can be made to collide.
	maxSlots  = 2 * MaxNodes
	maxProbes = 8

	// maxTransition is how many bytes a transition may have: one register of AVX2. maxName is
	// that of a member's name with a node, in its raw form.
	maxTransition = 32
	maxName       = 40

	// maxPredictedDepth is the depth from which on there are no nodes; below 64, so that the
	// kinds of the containers around a node fit into a word.
	maxPredictedDepth = 60

	// maxMispredictions is how often the length of a string may differ from the last one,
	// in mispredictionSpan documents, before it is not predicted any more: to go on with a
	// length that turns out to be wrong costs the processor more than to wait for it. For
	// 3,000 events one after the other that is 7 %; 16 of 1,024 and 100 of 16,384 are as good.
	maxMispredictions = 40
	mispredictionSpan = 4096

	// resetAfter is how many documents are read with a full memory before it is emptied: by
	// then its nodes may be out of use, or were made to fill it.
	resetAfter = 4096

	// minAdvance is how many bytes advance needs to begin: it loads so many at a time.
	minAdvance = maxTransition

	// maxAdvance is how many bytes advance is given at a time. The runtime cannot interrupt
	// it, and stops all goroutines before it goes on itself; this takes a fraction of a
	// millisecond.
	maxAdvance = 1 << 20
)
