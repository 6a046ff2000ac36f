package consumer

import (
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/rs/zerolog"

	"trailhound/consumer/admin"
	"trailhound/consumer/kafka/wire"
	"trailhound/rules"
	"trailhound/rules/cloudtrail"
	"trailhound/state"
)

// Stages of a dead letter: the part of the pipeline that gave up on the record.
const (
	stageRouter   = "router"
	stageDetector = "detector"
)

// Reasons that arise between the topics rather than inside an event.
const (
	reasonOutputRejected rules.Reason = "output_rejected"
	reasonUnreadable     rules.Reason = "unreadable_batch"

	// reasonProcessEnded is that of a record at which the process has ended mostEnds times.
	reasonProcessEnded rules.Reason = "process_ended"
)

// DeadLetterReasons are the reasons that a dead letter may have, those of package rules
// before those that arise between the topics.
func DeadLetterReasons() []rules.Reason {
	return append(rules.DeadLetterReasons(), reasonOutputRejected, reasonUnreadable, reasonProcessEnded)
}

// known are the label values of this build: the rules that are on, and each verdict and
// reason that there can be.
func (s *Service) known() (k admin.Known) {
	k.Rules = s.Engine.Rules()
	for _, v := range rules.VerdictKinds() {
		k.Verdicts = append(k.Verdicts, string(v))
	}
	for _, r := range DeadLetterReasons() {
		k.DeadLetters = append(k.DeadLetters, string(r))
	}
	for _, r := range rules.SkipReasons() {
		k.Skipped = append(k.Skipped, string(r))
	}
	return k
}

// badEvent is one part of a record that could not be evaluated.
type badEvent struct {
	index  int32 // of the event in the record; -1: the record as a whole
	reason rules.Reason
	detail string
	rule   string // "" unless one rule refused it
}

func asBadEvent(err error) badEvent {
	var d *cloudtrail.DecodeError
	if errors.As(err, &d) {
		return badEvent{index: int32(d.Index), reason: d.Reason, detail: d.Detail}
	}
	return badEvent{index: -1, reason: cloudtrail.ReasonNotJSON, detail: err.Error()}
}

// rateLimited returns a logger for messages that hostile input can cause, and that may not
// flood the log. suppressed counts those left out.
func rateLimited(log zerolog.Logger, suppressed counter) zerolog.Logger {
	return log.Sample(&countedSampler{zerolog.BurstSampler{Burst: 5, Period: 10 * time.Second}, suppressed})
}

// countedSampler counts the lines that it drops.
type countedSampler struct {
	zerolog.BurstSampler
	suppressed counter
}

type counter interface{ Inc() }

// Sample implements zerolog.Sampler.
func (s *countedSampler) Sample(level zerolog.Level) bool {
	if s.BurstSampler.Sample(level) {
		return true
	}
	s.suppressed.Inc()
	return false
}

// Bounds of the headers of a dead letter; its value has the topic's.
const (
	deadLetterErrors = 100      // entries of the errors header
	deadLetterEntry  = 160      // most bytes of one of them
	deadLetterDetail = 4 << 10  // bytes of a detail
	deadLetterKey    = 64 << 10 // bytes of the record's key
	deadLetterSlack  = 2 << 10  // room for record and batch framing
)

// deadLetter is a record that was given up, with the reasons. Its value is the original
// bytes; its source headers identify it (PROTOCOL R5).
type deadLetter struct {
	app        string
	version    string // of the build that writes it; "": not known
	stage      string
	bad        []badEvent
	key, value []byte
	whole      int   // bytes of the record, if value is only its beginning; else 0, or those of value
	recordTime int64 // timestamp of the input record, Unix milliseconds; -1: none
	source     state.Source
}

// record returns the Kafka key, value and headers of d, of at most limit bytes together,
// before compression; a header notes each part that is cut (PROTOCOL D6). The limit of a
// topic is that of compressed batches, so a record may come in through an input topic and
// not fit a dead-letter topic with the same limit. A topic that takes less than 1 KiB takes
// no dead letters.
func (d *deadLetter) record(limit int) (key, value []byte, headers []wire.Header) {
	first := d.bad[0]
	headers = []wire.Header{
		{Key: "reason", Value: []byte(first.reason)},
		{Key: "detail", Value: []byte(first.detail[:min(len(first.detail), deadLetterDetail, limit/8)])},
		{Key: "stage", Value: []byte(d.stage)},
		{Key: "source_topic", Value: []byte(d.source.Topic)},
		{Key: "source_partition", Value: strconv.AppendInt(nil, int64(d.source.Partition), 10)},
		{Key: "source_offset", Value: strconv.AppendInt(nil, d.source.Offset, 10)},
	}
	if first.index >= 0 {
		headers = append(headers, wire.Header{Key: "source_index", Value: strconv.AppendInt(nil, int64(first.index), 10)})
	}
	if first.rule != "" {
		headers = append(headers, wire.Header{Key: "rule", Value: []byte(first.rule)})
	}
	if d.recordTime >= 0 {
		headers = append(headers, wire.Header{Key: "source_timestamp", Value: strconv.AppendInt(nil, d.recordTime, 10)})
	}
	if len(d.bad) > 1 {
		headers = append(headers, wire.Header{Key: "errors", Value: d.errors(limit / 4)})
	}
	headers = append(headers, writtenBy(d.app, d.version)...)
	room := limit - deadLetterSlack
	for _, h := range headers {
		room -= len(h.Key) + len(h.Value)
	}
	key, value = d.key, d.value
	cut := func(b []byte, whole, most int, note string) []byte {
		b = b[:min(len(b), max(most, 0))]
		if whole > len(b) {
			headers = append(headers, wire.Header{Key: note, Value: strconv.AppendInt(nil, int64(whole), 10)})
		}
		return b
	}
	key = cut(key, len(key), min(room/4, deadLetterKey), "key_truncated_from")
	value = cut(value, max(len(value), d.whole), room-len(key), "truncated_from")
	return key, value, headers
}

// errors lists each bad event of the record as JSON, at most deadLetterErrors and
// as many as limit bytes take.
func (d *deadLetter) errors(limit int) []byte {
	type entry struct {
		Index  int32  `json:"index"`
		Reason string `json:"reason"`
		Rule   string `json:"rule,omitempty"`
	}
	list := make([]entry, 0, min(len(d.bad), deadLetterErrors, limit/deadLetterEntry))
	for _, b := range d.bad[:cap(list)] {
		list = append(list, entry{Index: b.index, Reason: string(b.reason), Rule: b.rule})
	}
	out, err := json.Marshal(list)
	if err != nil {
		panic("dead letter: marshal a list of plain strings: " + err.Error())
	}
	return out
}
