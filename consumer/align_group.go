package consumer

import (
	"context"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"time"

	"trailhound/consumer/kafka/group"
)

const (
	// alignEvery is how often an instance reads the committed offsets of the partitions of others.
	alignEvery = time.Second
	// alignTight is the least of these pauses, and of those between commits, while any
	// partition waits. requestPause multiplies it by the number of instances: the coordinator
	// that they share gets a hundred of these requests a second from any number of them.
	alignTight = 10 * time.Millisecond
	// alignSlow is the longest pause between two looks while nothing changes, unless
	// alignPause is longer.
	alignSlow = 100 * time.Millisecond
)

// inputMetadata is the metadata that an instance commits with the offset of an input partition.
type inputMetadata struct {
	topicID [16]byte
	clock   int64 // event time of the acknowledged records, Unix nanoseconds, to the millisecond; noNewest: not known
	backlog bool
	waiting bool
	steps   uint8 // as those of inputTime, a digit
}

// encode writes the topic's id and, behind it, the partition's event time and flags:
//
//	ID[;CLOCK[;FLAGS]]    CLOCK in Unix milliseconds or empty, FLAGS of b (backlog), w (waiting) and a digit (steps)
func (m inputMetadata) encode() string {
	s := hex.EncodeToString(m.topicID[:])
	if m.clock == noNewest && !m.backlog && !m.waiting && m.steps == 0 {
		return s
	}
	s += ";"
	if m.clock != noNewest {
		s += strconv.FormatInt(m.clock/int64(time.Millisecond), 10)
	}
	s += ";"
	if m.backlog {
		s += "b"
	}
	if m.waiting {
		s += "w"
	}
	if m.steps > 0 {
		s += strconv.Itoa(int(m.steps % mostSteps))
	}
	return s
}

// decodeInputMetadata reads the metadata that encode has written; not ok: another tool
// wrote it.
func decodeInputMetadata(s string) (m inputMetadata, ok bool) {
	m.clock = noNewest
	parts := strings.Split(s, ";")
	id, err := hex.DecodeString(parts[0])
	if err != nil || len(id) != len(m.topicID) {
		return m, false
	}
	copy(m.topicID[:], id)
	if len(parts) > 1 && parts[1] != "" {
		if ms, err := strconv.ParseInt(parts[1], 10, 64); err == nil {
			m.clock = time.UnixMilli(ms).UnixNano()
		}
	}
	if len(parts) > 2 {
		m.backlog, m.waiting = strings.Contains(parts[2], "b"), strings.Contains(parts[2], "w")
		if i := strings.IndexAny(parts[2], "123456789"); i >= 0 {
			m.steps = parts[2][i] - '0'
		}
	}
	return m, true
}

// ofTopic tells whether an offset was committed for the topic with this id.
func ofTopic(o group.Offset, topicID [16]byte) bool {
	m, ok := decodeInputMetadata(o.Metadata)
	return ok && m.topicID == topicID
}

// align makes the alignment if there is a drift to keep and more than one partition.
// Partitions hold the others until they are opened: each of them may be the slowest.
func (i *inputs) align(drift time.Duration) {
	if drift <= 0 || i.inputPartitions() < 2 {
		return
	}
	i.alignment = newAlignment(drift)
	i.alignment.log = i.log
	for _, name := range i.app.Inputs {
		for _, p := range i.topics[name].Partitions {
			i.alignment.update(inputKey{name, p.Index}, time.Now(), func(t *inputTime) { t.backlog = true })
		}
	}
}

// learns returns the channel with a token when a commit has news for the other instances.
func (a *alignment) learns() <-chan struct{} {
	if a == nil {
		return nil
	}
	return a.told
}

// followOthers follows the partitions of other instances, and leaves out those that cannot move,
// until ctx ends.
func (i *inputs) followOthers(ctx context.Context) {
	tries := newAttempts(nil)
	every := alignEvery
	looked := time.Now()
	var lookedUp time.Time
	for {
		before := i.alignment.limit.Load()
		madeAgain, err := i.readOthers(ctx)
		if madeAgain && time.Since(lookedUp) >= alignEvery {
			lookedUp = time.Now()
			err = errors.Join(err, i.lookUp(ctx)) // the next round tells more
		}
		if err != nil && ctx.Err() == nil {
			tries.failed(&i.log, err).Str("event", "alignment_retry").Msg("cannot read how far other instances have come in their inputs; it is tried again")
		}
		now := time.Now()
		if since := now.Sub(looked); err != nil || since > alignBlind {
			i.alignment.unseen(since, now)
		}
		looked = now
		i.alignment.leaveOut(now)
		tight := i.alignPause()
		switch {
		case !i.alignment.tight.Load():
			every = alignEvery
		case i.alignment.limit.Load() != before:
			every = tight
		default: // the slowest takes its time: ask less often
			every = min(max(2*every, tight), max(alignSlow, tight))
		}
		if !pause(ctx, every) {
			return
		}
	}
}

// alignPause is the pause between two requests of this instance while any partition waits.
func (i *inputs) alignPause() time.Duration {
	i.mu.Lock()
	defer i.mu.Unlock()
	return requestPause(len(i.positions), i.inputPartitions())
}

// requestPause is the pause of an instance that reads own of all input partitions, and is
// taken for one of several that read as many each. An instance that reads none has no
// partition that waits.
func requestPause(own, all int) time.Duration {
	if own == 0 {
		return alignEvery
	}
	return min(time.Duration((all+own-1)/own)*alignTight, alignEvery)
}

// flushSlowest sends the records at once that other partitions wait for: those of the
// partitions that set the limit, judged by their acknowledged records.
func (i *inputs) flushSlowest() {
	limit := i.alignment.limit.Load()
	var slowest []*ackTracker
	i.mu.Lock()
	for _, p := range i.positions {
		if _, clock := p.reachedTime(); i.alignment.ahead(clock) <= limit {
			slowest = append(slowest, p.ackTracker)
		}
	}
	i.mu.Unlock()
	for _, l := range i.producers {
		l.flush(slowest...)
	}
}

// pause lets some time pass; false: ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// readOthers reads the committed offsets of all input partitions that this instance does
// not read. madeAgain tells whether an offset belongs to another topic than the one that
// has an input's name, as far as this instance knows: the input was made again, and only
// one of the two instances has seen that yet.
func (i *inputs) readOthers(ctx context.Context) (madeAgain bool, err error) {
	for _, name := range i.app.Inputs {
		others, id := i.others(name), i.id(name)
		committed, err := i.member.Committed(ctx, name, others)
		if err != nil {
			return madeAgain, err
		}
		for _, p := range others {
			o := committed[p]
			m, ok := decodeInputMetadata(o.Metadata)
			if !ok || m.topicID != id {
				// The new topic's partition is not opened yet. Its event time is unknown: it may be the
				// slowest.
				m = inputMetadata{clock: noNewest, backlog: true}
				madeAgain = madeAgain || ok
			}
			i.alignment.update(inputKey{name, p}, time.Now(), func(t *inputTime) {
				if !t.local {
					t.clock, t.backlog, t.waiting, t.steps, t.next = m.clock, m.backlog, m.waiting, m.steps, o.At
				}
			})
		}
	}
	return madeAgain, nil
}

// others returns the partitions of an input that this instance does not read.
func (i *inputs) others(name string) (partitions []int32) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, p := range i.topics[name].Partitions {
		if i.positions[inputKey{name, p.Index}] == nil {
			partitions = append(partitions, p.Index)
		}
	}
	return partitions
}
