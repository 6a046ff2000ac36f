package play

import (
	"context"
	"errors"
	"sync"

	"trailhound/rules"
	"trailhound/rules/cloudtrail"
)

// line is the batches of one Run between the producer and the evaluation.
type line struct {
	ctx     context.Context
	options *Options
	todo    chan *task // for the decoders
	order   chan *task // the same tasks, for the evaluation
	pages   sync.Pool

	mu    sync.Mutex
	room  *sync.Cond
	ahead int64 // bytes of the batches in the line
	most  int64
	count int // of the batches in the line
}

// task is a batch that is being decoded.
type task struct {
	batch *Batch
	size  int64
	turn  chan struct{} // closed when the batch is the next to be evaluated
	pages chan *page    // the results of decoding; closed at its end
}

// pagesAhead is how many pages of one batch wait for evaluation: a record may unpack to any
// size, and its events shall not pile up.
const pagesAhead = 2

func newLine(ctx context.Context, o *Options) *line {
	most := 2*o.Decoders + 2
	l := &line{ctx: ctx, options: o, most: o.MaxAhead, todo: make(chan *task, most), order: make(chan *task, most)}
	l.room = sync.NewCond(&l.mu)
	l.pages.New = func() any { return new(page) }
	context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.room.Broadcast()
	})
	return l
}

// add puts a batch at the end of the line.
func (l *line) add(b *Batch) error {
	t := &task{batch: b, size: b.bytes(), turn: make(chan struct{}), pages: make(chan *page, pagesAhead)}
	if err := l.enter(t.size); err != nil {
		return err
	}
	for _, to := range []chan *task{l.order, l.todo} {
		select {
		case to <- t:
		case <-l.ctx.Done():
			return context.Cause(l.ctx)
		}
	}
	return nil
}

// enter waits until there is room for size more bytes.
func (l *line) enter(size int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.count > 0 && l.ahead+size > l.most && l.ctx.Err() == nil {
		l.room.Wait()
	}
	l.ahead += size
	l.count++
	return context.Cause(l.ctx)
}

// leave takes a batch that was evaluated out of the line.
func (l *line) leave(t *task) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ahead -= t.size
	l.count--
	l.room.Signal()
}

// end says that no batch follows.
func (l *line) end() {
	close(l.todo)
	close(l.order)
}

// decode takes batches out of the line until it ends.
func (l *line) decode() {
	w := &worker{line: l, decoder: cloudtrail.Decoder{MaxUnpacked: l.options.MaxUnpacked, MaxHeld: l.options.MaxHeld}}
	w.decoder.Turn = (*turn)(w)
	w.yield = w.event
	for {
		select {
		case t, ok := <-l.todo:
			if !ok || !w.batch(t) {
				return
			}
		case <-l.ctx.Done():
			return
		}
	}
}

type worker struct {
	line    *line
	decoder cloudtrail.Decoder
	yield   func(*rules.Event, error) bool

	task    *task
	record  *Record
	page    *page
	matches []rules.Match
	over    bool // the run is
}

// turn makes a decoder wait with a record that unpacks to much until its batch
// is the next to be evaluated: one such record is held at a time. When the run is over
// while it waits, the record is not unpacked.
type turn worker

func (t *turn) Lock() bool {
	select {
	case <-t.task.turn:
	case <-t.line.ctx.Done():
		t.over = true
	}
	return !t.over
}

func (*turn) Unlock() {}

// batch decodes a batch; false when the run is over.
func (w *worker) batch(t *task) bool {
	w.task, w.page = t, w.line.newPage()
	for i := range t.batch.Records {
		w.record = &t.batch.Records[i]
		w.page.records++
		w.decoder.Decode(w.record.Value, w.yield)
		if w.over {
			return false
		}
	}
	if !w.send() {
		return false
	}
	close(t.pages)
	w.task, w.record = nil, nil
	return true
}

// event notes the parts of an event that its evaluation needs, if any.
func (w *worker) event(ev *rules.Event, err error) bool {
	if err != nil {
		bad, ok := errors.AsType[*cloudtrail.DecodeError](err)
		if !ok {
			bad = &cloudtrail.DecodeError{Index: -1, Reason: cloudtrail.ReasonNotJSON, Detail: err.Error()}
		}
		w.page.reject(w.record.At, bad.Index, bad.Reason, bad.Detail)
		return w.turnPage()
	}
	w.page.events++
	index := ev.At.Index
	ev.At, ev.RecordTime = w.record.At, w.record.Time
	ev.At.Index = index
	var unmatched []rules.Rejection
	w.matches, unmatched = w.line.options.Engine.Match(ev, w.matches[:0])
	for _, r := range unmatched {
		w.page.reject(ev.At, int(index), r.Reason, r.Detail)
	}
	if len(w.matches) == 0 {
		return w.turnPage()
	}
	if ahead, ok := w.line.options.Engine.Ahead(ev, w.line.options.Now); ok {
		w.page.reject(ev.At, int(index), ahead.Reason, ahead.Detail)
	} else {
		w.page.match(ev, w.matches)
	}
	return w.turnPage()
}

// turnPage goes on with another page when this one is full.
func (w *worker) turnPage() bool {
	if !w.page.full() {
		return true
	}
	if w.over = !w.send(); w.over {
		return false
	}
	w.page = w.line.newPage()
	return true
}

// send gives the page to the evaluation; false when the run is over.
func (w *worker) send() bool {
	select {
	case w.task.pages <- w.page:
		return true
	case <-w.line.ctx.Done():
		return false
	}
}
