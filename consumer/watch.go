package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"

	"trailhound/consumer/kafka/wire"
)

// unanswered is how long a request has waited before it is named.
const unanswered = 2 * time.Second

// watching is the state of the watch of progress between two looks (PROTOCOL D14). It is
// for the goroutine of Service.watch.
type watching struct {
	looks    int
	gave     int   // the look that last handed a partition back; 0: none has
	restored int64 // changelog offsets, by all shards
	probing  chan map[inputKey]int64
	told     map[string]bool // keys of the stalls that the log has
}

// watch looks once a second whether each assigned partition makes progress, until ctx ends.
// Ready, Status and the gauges of lag rely on it while other goroutines are blocked.
func (s *Service) watch(ctx context.Context) {
	w := watching{told: make(map[string]bool)}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.look(ctx, &w)
		case ends := <-w.probing:
			s.noteEnds(ends)
			w.probing = nil
		case <-s.Store.Failed():
			s.fail(s.blame(nil))
			return
		case <-ctx.Done():
			return
		}
	}
}

func (s *Service) look(ctx context.Context, w *watching) {
	w.looks++
	restored := s.restores.Total()
	restoring := restored != w.restored
	w.restored = restored
	patience := w.patience()
	lanesStuck := false
	for _, l := range slices.Concat(s.lanes, s.dead) {
		l.pulse.look()
		lanesStuck = lanesStuck || l.pulse.looks() >= patience
	}
	inputs, shards := s.routers.keys(), s.detectors.keys()
	var unread, give []inputKey
	now := time.Now()
	s.mu.Lock()
	for _, k := range inputs {
		p := s.positions[k]
		if p == nil {
			o := s.openings[k]
			if o == nil {
				o = s.opensAfter(k)
			}
			if o.look() {
				s.alignment.moves(k, now)
			}
			if lanesStuck || o.stuck(patience) {
				give = append(give, k)
			}
			continue
		}
		seen, moved := p.look()
		if moved {
			s.alignment.moves(k, now)
		}
		p.meter.SetLag(p.lag())
		if seen.unread > 0 {
			unread = append(unread, k)
		}
		if lanesStuck || p.stuck(patience) && !answers(p.reading.trouble()) {
			give = append(give, k)
		}
	}
	for _, n := range shards {
		st := s.shards[n]
		if st == nil {
			continue
		}
		if restoring && step(st.pulse.step.Load()) == stepTake {
			st.pulse.beat() // the shard may wait for its turn to restore
		}
		seen := st.look()
		if st.ready.Load() {
			st.meter.Load().Lag.Set(float64(st.left()))
		}
		k := inputKey{s.App.WorkTopic(), int32(n)}
		if seen.unread > 0 {
			unread = append(unread, k)
		}
		if st.stuck(patience) && !answers(st.taking.trouble()) && !answers(st.reading.trouble()) {
			give = append(give, k)
		}
	}
	s.mu.Unlock()
	s.Metrics.Stalled(s.stalls())
	s.tell(w)
	if s.handBack(give, now) {
		w.gave = w.looks
	}
	if w.looks%probeLooks == 0 && w.probing == nil && len(unread) > 0 {
		w.probing = make(chan map[inputKey]int64, 1)
		go s.probe(ctx, unread, w.probing)
	}
}

// answers tells whether an error is a broker's answer, which another instance would get too.
func answers(err error) bool {
	_, answered := errors.AsType[kafka.Error](err)
	_, denied := errors.AsType[*wire.DeniedError](err)
	return answered || denied
}

// look counts the looks without progress of the position's router and feed. moved reports
// progress of the router, or of the feed's turn. The caller holds the lock.
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
		return p.progress.lag()
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

// silence counts the looks since the last answer to a feed that waits for one, or to the
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

// stall returns the error of a partition that makes no progress: the reason why, with the
// request that has waited longest for its answer.
func (s *Service) stall(why string) error {
	if why == "" {
		return nil
	}
	if disk := s.Store.Stalled(); disk != "" {
		why += "; the disk of the local state does not answer: " + disk
	} else if asked := s.Client.Unanswered(unanswered); asked != "" {
		why += "; " + asked
	}
	return errors.New(why)
}

// shardProblem returns the error of a shard that is not worked on, or makes no progress;
// nil: none.
func (s *Service) shardProblem(st *shardStatus) error {
	err := st.trouble()
	if st == nil || err != nil && !errors.Is(err, errNotTaken) {
		return err
	}
	return cmp.Or(s.stall(st.stillness()), err)
}

// diskStall returns the error of a local state with a disk that does not answer; nil: it does.
func (s *Service) diskStall() error {
	if disk := s.Store.Stalled(); disk != "" {
		return fmt.Errorf("the disk of the local state does not answer: %s; the instance ends if that goes on, and others take over", disk)
	}
	return nil
}

// stalls counts the partitions, shards and lanes without progress, by part.
func (s *Service) stalls() map[string]int {
	out := make(map[string]int)
	count := func(part string, why string) {
		if why != "" {
			out[part]++
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.routers.keys() {
		if p := s.positions[k]; p != nil {
			count(partInput, p.stillness())
		} else if o := s.openings[k]; o != nil {
			count(partInput, o.pulse.stillness())
		}
	}
	for _, n := range s.detectors.keys() {
		if st := s.shards[n]; st != nil {
			count(partShard, st.stillness())
		}
	}
	for _, l := range slices.Concat(s.lanes, s.dead) {
		count(partOutput, l.pulse.stillness())
	}
	count(partState, s.Store.Stalled())
	return out
}

// tell logs stalls that have begun, and those that have ended.
func (s *Service) tell(w *watching) {
	now := make(map[string]bool)
	line := func(key, why string) {
		if why == "" {
			return
		}
		now[key] = true
		if !w.told[key] {
			s.Log.Warn().Str("what", key).Str("why", sentence(s.stall(why))).Str("event", "stalled").Msg("no progress is made; not ready until it goes on")
		}
	}
	s.mu.Lock()
	for _, k := range s.routers.keys() {
		name := fmt.Sprintf("input %s partition %d", k.topic, k.partition)
		p := s.positions[k]
		if p == nil {
			if o := s.openings[k]; o != nil {
				line(name, o.pulse.stillness())
			}
			continue
		}
		if p.pulse.stillness() != "" || p.silence.stillness() != "" {
			line(name, p.stillness())
		} else if p.held.looks >= remedyLooks {
			line(name, p.held.stillness())
		}
	}
	for _, n := range s.detectors.keys() {
		if st := s.shards[n]; st != nil {
			line(fmt.Sprintf("shard %d", n), st.stillness())
		}
	}
	s.mu.Unlock()
	for _, l := range slices.Concat(s.lanes, s.dead) {
		line(fmt.Sprintf("topic %s partition %d", l.topic, l.partition), l.pulse.stillness())
	}
	for key := range w.told {
		if !now[key] {
			s.Log.Info().Str("what", key).Str("event", "stall_ended").Msg("progress is made again, or it is another instance's to make")
		}
	}
	w.told = now
}

// probe asks for the ends of logs with readers that are held up, so that no fetch tells them.
func (s *Service) probe(ctx context.Context, of []inputKey, to chan<- map[inputKey]int64) {
	asking, stop := context.WithTimeout(ctx, probeLooks*lookEvery)
	defer stop()
	ask := make(map[string][]kafka.OffsetRequest)
	for _, k := range of {
		ask[k.topic] = append(ask[k.topic], kafka.LastOffsetOf(int(k.partition)))
	}
	ends := make(map[inputKey]int64)
	res, err := s.Client.Kafka().ListOffsets(asking, &kafka.ListOffsetsRequest{Topics: ask})
	if err == nil {
		for name, partitions := range res.Topics {
			for _, p := range partitions {
				if p.Error == nil {
					ends[inputKey{name, int32(p.Partition)}] = p.LastOffset
				}
			}
		}
	}
	to <- ends
}

// noteEnds notes the ends that probe has found.
func (s *Service) noteEnds(ends map[inputKey]int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, end := range ends {
		if k.topic == s.App.WorkTopic() {
			if st := s.shards[int(k.partition)]; st != nil {
				st.end.reaches(end)
			}
		} else if p := s.positions[k]; p != nil {
			p.end.reaches(end)
		}
	}
}
