package model

// Bounds of the detector's world.
const (
	owners    = 2
	logRoom   = 26 // entries of the changelog
	batchRoom = 2  // work records of one transaction
	openRoom  = 4  // alerts of a transaction that is not ended
	overdue   = 2  // late requests: under way, and their sender waits no more
	mostTakes = 4  // of the shard since the last fault: more is a livelock
)

// detecting is the model of the second half: from a work partition to the state
// and the alerts of its shard. It follows detector.run, changelog.Take,
// txn.Producer, and the effect of their requests on brokers of Kafka 2.8 or later.
type detecting struct {
	work   []uint8 // the source of each work record; one that is not newer than those before is a repeat
	batch  uint8   // most work records of a transaction
	faults detectorFaults
	trims  bool  // owners delete work that is done with
	public bool  // judge from outside: by alerts, and owners that stop or never come to an end
	count  bool  // count how often the shard is taken
	slow   bool  // a restore gets one entry with each fetch, instead of all there is
	life   uint8 // delete.retention.ms in ticks; 0: no compaction
	off    detectorRules
}

// detectorFaults are how often each fault may happen.
type detectorFaults struct {
	crashes    uint8 // of an owner
	losses     uint8 // requests lost, late, refused, or executed with the answer lost
	rebalances uint8 // the group gives the shard to the other owner
	leaders    uint8 // the changelog gets another leader, and the old one goes on answering
	collisions uint8 // InitProducerID, asked again, meets another open transaction
	timeouts   uint8 // the coordinator aborts a transaction that takes too long
	remakes    uint8 // the changelog is deleted and made again while no owner runs
	ticks      uint8 // of the clock; one is half of delete.retention.ms
	cleans     uint8 // runs of the log cleaner
}

// detectorRules are the rules of the protocol that the model leaves out, to see
// that it notices.
type detectorRules struct {
	fence            bool // D1: InitProducerID, which fences the former owner
	claim            bool // D1: restores to the end of the log that a leader tells, without a claim
	ignoreWatermark  bool // D1: ends a restore at a fetch's high watermark
	ignoreEmptyFetch bool // D1: ends a restore at an empty fetch
	nextOffset       bool // D1: ends a restore at the sight of the record before the claim
	dropRepeats      bool // D2
	stateInside      bool // D3: writes the state after the transaction
	alertsInside     bool // D3: writes alerts before the transaction
	applyAfter       bool // D3: writes to Pebble before the transaction is committed
	absolute         bool // D3: writes the increment of a counter, not its value
	endOnce          bool // D4: sends EndTxn again after an unknown outcome
	addOnce          bool // D4: sends AddPartitions again after an unknown outcome
	allAnswered      bool // D4: commits although a produce request has failed
	confirm          bool // D5: takes the shard back without asking the group
	workOffset       bool // D1: goes on behind the last batch instead of at the state's work offset
	positionInLog    bool // D8: writes a position alone to Pebble
	copyAge          bool // D9: uses a local copy of any age
	restoreTime      bool // D9: a restore may take as long as it likes
	restoreMark      bool // D9: a restore that was interrupted is timed anew
	positionInside   bool // D10: goes on with a copy that is ahead of the changelog
	stateTopicID     bool // D10: goes on with a copy of another changelog
	trimCommitted    bool // deletes work records once they are evaluated
	lookFirst        bool // looks up the losses of the work log after the restore, not before the claim
	zombiesEnd       bool // an assumption: see tick
	collideSeldom    bool // an assumption: see initialise
}

// values are the state of the shard as it travels in the changelog: under one key
// the position, under another a counter, and under a third a value that every
// other event deletes.
type values struct{ work, source, count, key uint8 }

// A write is which keys a record batch of the changelog writes.
const (
	writesPosition = 1 << iota
	writesCount
	writesKey
	writesAll = writesPosition | writesCount | writesKey
)

// entry is one offset of the changelog: a record batch of a transaction (one batch
// stands for all its keys), a claim, or a marker.
type entry struct {
	kind    entryKind
	values  values
	writes  uint8 // keys that it wrote
	gone    uint8 // keys that the cleaner has removed
	horizon uint8 // 1 + when the cleaner may remove the tombstone; 0: it has not met it
}

type entryKind uint8

const (
	nothing entryKind = iota
	data
	claimed
	committed
	aborted
	plain // outside of any transaction: for mutants that break D3
)

// parts of the cluster that a transaction writes to; a bit each.
const (
	toChangelog = 1 << iota
	toAlerts
)

// detectorState is the whole world of one shard's owners.
type detectorState struct {
	assigned  uint8 // owner that the group gives the shard to
	owners    [owners]owner
	late      [overdue]call
	txn       coordinator
	log       [logRoom]entry
	length    uint8
	logEpoch  uint8 // newest producer epoch that the changelog's leader has seen
	topic     uint8 // id of the changelog
	oldLeader uint8 // 1 + where the log ended when its leader changed, as long as the old one answers
	alerts    alertsLog
	workStart uint8 // records below it have been deleted
	now       uint8
	takes     uint8 // of the shard since the last fault
	lost      bool  // the changelog was emptied after something was committed: owners must stop
	left      detectorFaults
	broken    bool // an alert was published that is not the one to come next
}

// alertsLog is the alerts partition: how many alerts a read-committed reader has
// seen, and those of a transaction that is not ended.
type alertsLog struct {
	seen, epoch uint8
	open        [openRoom]uint8
}

// coordinator is the transaction coordinator's record of the transactional id.
type coordinator struct {
	state   txnState
	epoch   uint8
	added   uint8 // partitions of the transaction
	markers uint8 // that have still to be written
}

type txnState uint8

const (
	empty txnState = iota
	ongoing
	prepareCommit
	prepareAbort
	completeCommit
	completeAbort
)

func (c *coordinator) busy() bool { return c.state == prepareCommit || c.state == prepareAbort }

// owner is one instance's detector and its local copy.
type owner struct {
	phase  phase
	epoch  uint8
	waited bool  // its InitProducerID has aborted a transaction, and it was asked to wait
	claim  uint8 // its offset, while restoring
	next   uint8 // work offset behind the last record evaluated
	found  workLog
	tx     transaction
	copy   localCopy
	disk   localCopy // the copy before its last write, which a crash may bring back
}

// workLog is looked up by an owner before it takes the shard: where the work log
// starts, and whether the group knows that some of it was evaluated.
type workLog struct {
	start  uint8
	worked bool
}

type phase uint8

const (
	idle      phase = iota // has lost the shard, or never had it
	confirmed              // the group has said that the shard is its own: InitProducerID comes next
	adding
	producing
	ending
	saving // for mutants that break D3
	restoring
	ready
	halted // with a sentence for the operator
)

// transaction is the transaction of a flush, or of a claim, that is under way.
type transaction struct {
	entry  entry
	alerts [batchRoom]uint8
	parts  uint8 // to write to
	wait   uint8 // parts that have not answered
	at     uint8 // offset of the entry
}

// localCopy is the shard in Pebble.
type localCopy struct {
	values   values
	at       uint8 // next changelog offset; 0: nothing is there
	topic    uint8 // id of the changelog
	caughtUp uint8 // when it was last up to date
	since    uint8 // 1 + the time from which the running restore is timed; 0: none runs
}

// call is a request of a transaction.
type call struct {
	kind  callKind
	epoch uint8
	tx    transaction
}

type callKind uint8

const (
	noCall callKind = iota
	initProducer
	addPartitions
	produceChangelog
	produceAlerts
	endTxn
)

func (k callKind) String() string {
	return [...]string{"", "InitProducerID", "AddPartitions", "Produce to the changelog", "Produce to the alerts", "EndTxn(commit)"}[k]
}

func (m *detecting) initial() detectorState { return detectorState{left: m.faults} }

// evaluate is the rule that the shard runs: a function of the state and the event.
// Its alert tells both the counter and the key that the event has met.
func evaluate(v values, source uint8) (values, uint8) {
	v.count++
	alert := v.count<<4 | v.key
	v.source = source
	if v.key == 0 {
		v.key = source
	} else {
		v.key = 0
	}
	return v, alert
}

// sequential evaluates the first n different events: the truth.
func (m *detecting) sequential(n uint8) (v values, last uint8) {
	for _, source := range m.work {
		if v.count == n {
			break
		}
		if source > v.source {
			v, last = evaluate(v, source)
		}
	}
	return v, last
}
