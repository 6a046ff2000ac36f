package consumer

import (
	"fmt"
	"sync/atomic"
	"time"
)

// step is the step of work that a watched goroutine is at.
type step uint8

const (
	stepIdle     step = iota // waits for input: records, its turn, a slower partition, room in a partition producer
	stepTake                 // takes the shard and restores its state
	stepEvaluate             // of work records
	stepCommit               // of a transaction
	stepApply                // of a committed transaction to the local state
	stepUpkeep
	stepRoute // of input records
	stepOpen  // finds the offset to begin at in an input partition
	stepSend  // of a produce request
	stepWait  // waits for a resource that another goroutine holds
	stepEnd   // waits for the end of the goroutine that had the partition before
)

// pulse shows whether a goroutine makes progress (PROTOCOL D14). The goroutine notes its
// step and each piece of work done, with one atomic operation each; the watch looks once a
// second, and counts the looks that have found nothing done. So neither needs a clock, and
// a process that was stopped has had no looks meanwhile.
type pulse struct {
	step   atomic.Uint32
	done   atomic.Uint64                 // pieces of work done
	others atomic.Pointer[atomic.Uint64] // the same, of the goroutines that this one waits for; nil: it waits for none
	seen   uint64                        // the sum of both, by the last look
	still  atomic.Int32                  // looks that have found nothing done since
}

// at notes the step that begins. Only stepIdle counts as progress: nothing is left to do.
func (p *pulse) at(s step) { p.step.Store(uint32(s)) }

// beat notes progress.
func (p *pulse) beat() { p.done.Add(1) }

// look is for the watch. It reports progress since the last look.
func (p *pulse) look() (moved bool) {
	done := p.done.Load()
	if others := p.others.Load(); others != nil {
		done += others.Load()
	}
	moved = done != p.seen
	p.seen = done
	if moved || step(p.step.Load()) == stepIdle {
		p.still.Store(0)
	} else {
		p.still.Add(1)
	}
	return moved
}

// looks returns the number of looks without progress although the goroutine is not idle.
func (p *pulse) looks() int { return int(p.still.Load()) }

// lasted is the time of so many looks.
func lasted(looks int) time.Duration { return time.Duration(looks) * lookEvery }

// stillness returns a sentence on the step at which a goroutine makes no progress; "": it does.
func (p *pulse) stillness() string {
	s, looks := step(p.step.Load()), p.looks()
	if looks < stalledLooks || s == stepIdle {
		return ""
	}
	return fmt.Sprintf(stepSentences[s], lasted(looks))
}

var stepSentences = map[step]string{ //nolint:gosec // sentences, which are taken for credentials
	stepTake:     "taking it has made no progress for %s",
	stepEvaluate: "the evaluation of its work records has made no progress for %s",
	stepCommit:   "its transaction has waited %s for the brokers",
	stepApply:    "a committed transaction has waited %s for the local state",
	stepUpkeep:   "its upkeep has made no progress for %s",
	stepRoute:    "the evaluation of rules' filters on its records has made no progress for %s",
	stepOpen:     "finding where to begin has made no progress for %s",
	stepSend:     "no broker has acknowledged a produce request for %s",
	stepWait:     "it has waited %s for what another partition of this instance holds, which makes no progress",
	stepEnd:      "the goroutine that had it here before has not ended for %s",
}

// waiting notes that the goroutine waits for others: their progress counts as its own. nil
// ends that, and returns to the step before.
func (p *pulse) waiting(others *atomic.Uint64, before step) {
	p.others.Store(others)
	if others == nil {
		p.at(before)
	} else {
		p.at(stepWait)
	}
}
