package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
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
	probing  atomic.Bool
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
		case <-s.Store.Failed():
			s.fail(blame(s.Store, nil))
			return
		case <-ctx.Done():
			return
		}
	}
}

func (s *Service) look(ctx context.Context, w *watching) {
	w.looks++
	restored := s.shards.restores.Total()
	restoring := restored != w.restored
	w.restored = restored
	patience := w.patience()
	outputsStuck := false
	for _, l := range s.outputs {
		l.pulse.look()
		outputsStuck = outputsStuck || l.pulse.looks() >= patience
	}
	now := time.Now()
	unread := make(map[inputKey]*logEnd)
	give := slices.Concat(s.inputs.look(patience, outputsStuck, now, unread), s.shards.look(patience, restoring, unread))
	s.tell(w)
	if s.membership.handBack(give, now) {
		w.gave = w.looks
	}
	if w.looks%probeLooks == 0 && len(unread) > 0 && w.probing.CompareAndSwap(false, true) {
		go func() {
			defer w.probing.Store(false)
			s.probe(ctx, unread)
		}()
	}
}

// patience is how many looks without progress a partition stays here. A partition taken in
// exchange for one that was handed back meets the same broker as a rule, and goes sooner.
func (w *watching) patience() int {
	if w.gave > 0 && w.looks-w.gave < suspectLooks {
		return stalledLooks
	}
	return handBackLooks
}

// answers tells whether an error is a broker's answer, which another instance would get too.
func answers(err error) bool {
	_, answered := errors.AsType[kafka.Error](err)
	_, denied := errors.AsType[*wire.DeniedError](err)
	return answered || denied
}

// stall is a part of the instance, with the reason why it makes no progress; "": it does.
type stall struct {
	part, name, why string
	logged          bool
}

// tell counts the stalls by part, and logs those that have begun or ended.
func (s *Service) tell(w *watching) {
	stalls := append(s.inputs.stalled(), s.shards.stalled()...)
	for _, l := range s.outputs {
		stalls = append(stalls, stall{partOutput, fmt.Sprintf("topic %s partition %d", l.topic, l.partition), l.pulse.stillness(), true})
	}
	stalls = append(stalls, stall{partState, "", s.Store.Stalled(), false})
	count, now := make(map[string]int), make(map[string]bool)
	for _, x := range stalls {
		if x.why == "" {
			continue
		}
		count[x.part]++
		if !x.logged {
			continue
		}
		now[x.name] = true
		if !w.told[x.name] {
			s.Log.Warn().Str("what", x.name).Str("why", sentence(s.instance.stall(x.why))).Str("event", "stalled").Msg("no progress is made; not ready until it goes on")
		}
	}
	s.Metrics.Stalled(count)
	for key := range w.told {
		if !now[key] {
			s.Log.Info().Str("what", key).Str("event", "stall_ended").Msg("progress is made again, or it is another instance's to make")
		}
	}
	w.told = now
}

// probe asks for the ends of logs with readers that are held up, so that no fetch tells them.
func (s *Service) probe(ctx context.Context, unread map[inputKey]*logEnd) {
	asking, stop := context.WithTimeout(ctx, probeLooks*lookEvery)
	defer stop()
	ask := make(map[string][]kafka.OffsetRequest)
	for k := range unread {
		ask[k.topic] = append(ask[k.topic], kafka.LastOffsetOf(int(k.partition)))
	}
	res, err := s.Client.Kafka().ListOffsets(asking, &kafka.ListOffsetsRequest{Topics: ask})
	if err != nil {
		return
	}
	for name, partitions := range res.Topics {
		for _, p := range partitions {
			if end := unread[inputKey{name, int32(p.Partition)}]; end != nil && p.Error == nil {
				end.reaches(p.LastOffset)
			}
		}
	}
}
