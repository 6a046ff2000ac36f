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
	producersStuck := false
	for _, l := range slices.Concat(s.producers, s.dead) {
		l.pulse.look()
		producersStuck = producersStuck || l.pulse.looks() >= patience
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
			if producersStuck || o.stuck(patience) {
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
		if producersStuck || p.stuck(patience) && !answers(p.reading.trouble()) {
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

// stalls counts the partitions, shards and partition producers without progress, by part.
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
	for _, l := range slices.Concat(s.producers, s.dead) {
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
	for _, l := range slices.Concat(s.producers, s.dead) {
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
