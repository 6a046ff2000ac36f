// Package play runs the rules over records that are at hand, such as files or
// a range of a topic, with a state of its own, in memory unless it is given a directory.
//
// A [Player] takes batches of records from one producer, in the order that counts. Several
// goroutines decode and match them ahead of time; one, the caller of [Player.Run],
// evaluates the matches, in that order.
//
//	producer ──Batch──► decoders ──matched events──► evaluation ──► callbacks
//	                    any order                     exact order
//
// Its one guarantee: the callbacks get the same calls as if one record after the other was
// decoded and evaluated, in the same order, for any cut into batches and any number of
// decoders.
package play

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"trailhound/rules"
	"trailhound/state"
)

// DefaultMaxAhead is how many bytes of records are decoded ahead of evaluation,
// unless Options say otherwise: 64 MiB.
const DefaultMaxAhead = 64 << 20

// Options are the settings of a Player. The callbacks are called by Run alone, one at a
// time; their arguments are valid until they return. An error of theirs ends Run, which
// returns it as it is.
type Options struct {
	Engine      *rules.Engine
	State       state.Options // without a Dir it is kept in memory; FS is the player's own
	Shards      int
	MaxUnpacked int64 // as in cloudtrail.Decoder
	MaxHeld     int64 // likewise
	Decoders    int   // goroutines that decode; 0: one per processor
	MaxAhead    int64 // bytes of records that may wait for evaluation, a batch that is larger alone; 0: DefaultMaxAhead

	// Now bounds the times of events, together with the timestamps of their records:
	// see rules.Engine.Ahead. Zero: the timestamps alone.
	Now time.Time

	// Alert is given each alert, with the event that completed it. Whether it is shown is
	// the caller's affair: the event has changed the state already.
	Alert func(*rules.Event, *rules.Alert) error

	// Rejected is told of each record (index -1) and each event that is refused. The
	// source's own Index says nothing.
	Rejected func(at state.Source, index int, reason rules.Reason, detail string)

	// Idle is called before more records are waited for: everything given so far is
	// evaluated. nil: no call.
	Idle func() error
}

// Record is one record to be decoded, as cloudtrail.Decode takes it.
type Record struct {
	At    state.Source // without an Index
	Time  time.Time    // timestamp of a Kafka record; zero: none
	Value []byte
}

// Batch is records one behind the other, best some hundred KiB of them. It is the Player's
// from the moment that it is given until Done is called, and so are the bytes of its
// records. Run calls Done in the order of the batches, after all callbacks for its records;
// never for batches that an error leaves unfinished. A batch without records is in order.
// nil: no Done.
type Batch struct {
	Records []Record
	Done    func()
}

// bytes is how much of the records' memory the batch holds.
func (b *Batch) bytes() (sum int64) {
	for i := range b.Records {
		sum += int64(len(b.Records[i].Value))
	}
	return sum
}

// Counts is how many records, events and matches a Player has evaluated.
type Counts struct {
	Records, Events, Matches int64

	Verdicts map[rules.VerdictKind]int64 // of matches
}

// Player evaluates records. Not for concurrent use.
type Player struct {
	options Options
	engine  *rules.Engine
	store   *state.Store
	shards  []shard
	counts  Counts
	mine    []rules.Match
}

// New returns a Player with an empty state, or with the state in State.Dir. The caller
// closes it.
func New(o Options) (*Player, error) {
	if o.Decoders <= 0 {
		o.Decoders = runtime.GOMAXPROCS(0)
	}
	if o.MaxAhead <= 0 {
		o.MaxAhead = DefaultMaxAhead
	}
	if o.State.FS = nil; o.State.Dir == "" {
		o.State.Dir, o.State.FS = "play", vfs.NewMem()
	}
	store, err := state.Open(o.State)
	if err != nil {
		return nil, err
	}
	p := &Player{options: o, engine: o.Engine.Clone(), store: store, shards: make([]shard, o.Shards)}
	p.counts.Verdicts = map[rules.VerdictKind]int64{}
	for n := range p.shards {
		if p.shards[n].Shard, err = store.Shard(n); err != nil {
			return nil, errors.Join(fmt.Errorf("open shard %d: %w", n, err), store.Close())
		}
	}
	return p, nil
}

// Counts gives the counts so far, of all calls of Run. Callbacks may ask.
func (p *Player) Counts() Counts { return p.counts }

// Shard returns one shard with the state so far; the caller may read it until the next Run,
// or Close.
func (p *Player) Shard(n int) (*state.Shard, error) {
	if err := p.shards[n].commit(); err != nil {
		return nil, err
	}
	return p.shards[n].Shard, nil
}

// Close commits open transactions, and lets go of the state.
func (p *Player) Close() error {
	var failed error
	for n := range p.shards {
		failed = errors.Join(failed, p.shards[n].commit())
	}
	return errors.Join(failed, p.store.Close())
}

// Run evaluates the batches that produce gives to add, until produce returns
// and all of them are evaluated. It returns the error that comes first in the
// order of the records: one of evaluation or of a callback, else that of
// produce, or why ctx ended. The state is kept for the next Run.
//
// produce runs beside Run and decides the order by its calls of add, which may
// come from one goroutine at a time. add waits while too much is ahead. Its
// error means that Run is over; produce should return then, and must when the
// ctx it is given ends, since Run waits for it.
func (p *Player) Run(ctx context.Context, produce func(ctx context.Context, add func(*Batch) error) error) error {
	ctx, cancel := context.WithCancel(ctx)
	l := newLine(ctx, &p.options)
	var running sync.WaitGroup
	for range p.options.Decoders {
		running.Go(l.decode)
	}
	var produced error
	running.Go(func() {
		produced = produce(ctx, l.add)
		l.end()
	})
	err := p.evaluateAll(l)
	cancel()
	running.Wait()
	return cmp.Or(err, produced)
}
