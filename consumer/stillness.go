package consumer

import (
	"fmt"
	"time"
)

// look counts the looks without progress of the position's router and prefetcher. moved
// reports progress of the router, or of the prefetcher's turn. The caller holds the lock.
func (p *position) look() (view logView, moved bool) {
	moved = p.pulse.look()
	view = p.end.view()
	moved = p.silence.look(view) || moved
	p.held.look(view, p.next())
	return view, moved
}

// lag returns the number of records left to read, up to the end of the log last told.
func (p *position) lag() int64 {
	view := p.end.view()
	if view.answered.IsZero() {
		return p.ackTracker.lag()
	}
	return max(view.highWatermark-p.next(), 0)
}

func (p *position) stuck(patience int) bool {
	return p.pulse.looks() >= patience || p.silence.looks >= patience
}

// stillness returns a sentence on a partition that makes no progress; "": it does.
func (p *position) stillness() string {
	if why := p.pulse.stillness(); why != "" {
		return why
	}
	if why := p.silence.stillness(); why != "" {
		return why
	}
	return p.held.stillness()
}

func (st *shardStatus) look() logView {
	st.pulse.look()
	view := st.end.view()
	if st.ready.Load() {
		st.silence.look(view)
	} else {
		st.silence = silence{}
	}
	return view
}

func (st *shardStatus) stuck(patience int) bool {
	return st.pulse.looks() >= patience || st.silence.looks >= patience
}

func (st *shardStatus) stillness() string {
	if why := st.pulse.stillness(); why != "" {
		return why
	}
	return st.silence.stillness()
}

// left returns the number of work records not evaluated yet, up to the end of the log last
// told.
func (st *shardStatus) left() int64 { return max(st.end.view().highWatermark-st.next.Load(), 0) }

// silence counts the looks since the last answer to a prefetcher that waits for one, or to the
// fetches that are sent before its own.
type silence struct {
	answered time.Time
	turns    uint64
	looks    int
}

// look tells whether the turn of a waiting fetch has come nearer.
func (q *silence) look(v logView) (nearer bool) {
	nearer = v.turns != q.turns
	if v.unread > 0 || nearer || !v.answered.Equal(q.answered) {
		*q = silence{answered: v.answered, turns: v.turns}
	} else {
		q.looks++
	}
	return nearer
}

func (q *silence) stillness() string {
	if q.looks < stalledLooks {
		return ""
	}
	return fmt.Sprintf("its leader has not answered a fetch for %s", lasted(q.looks))
}

// held counts the looks for which an open transaction has held back the last stable offset
// of an input, with its reader there. A transaction is reported once it lasts longer than
// usual, judged by those that have ended.
type held struct {
	at    int64 // last stable offset
	looks int
	most  int // looks of the longest one that has ended
}

func (h *held) look(v logView, next int64) {
	if v.lastStable != h.at || v.lastStable >= v.highWatermark || next < v.lastStable {
		h.at, h.most, h.looks = v.lastStable, max(h.most, h.looks), 0
		return
	}
	h.looks++
}

func (h *held) stillness() string {
	if h.looks < max(heldLooks, min(2*h.most, mostHeld)) {
		return ""
	}
	return fmt.Sprintf("an open transaction of a producer has held back its records from offset %d on for %s; if it does not end by itself, find it with kafka-transactions.sh find-hanging and abort it", h.at, lasted(h.looks))
}
