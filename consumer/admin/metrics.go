package admin

import (
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Metrics are the counters and gauges of one instance, all under the prefix
// trailhound_. The hot path adds to children that are looked up once, when a
// partition or a shard is taken.
type Metrics struct {
	registry *prometheus.Registry

	records      *prometheus.CounterVec // topic, partition
	bytes        *prometheus.CounterVec // topic, partition
	events       *prometheus.CounterVec // topic, partition
	inputLag     *prometheus.GaugeVec   // topic, partition
	inputWaiting *prometheus.GaugeVec   // topic, partition
	matches      *prometheus.CounterVec // rule
	skipped      *prometheus.CounterVec // reason
	deadLetters  *prometheus.CounterVec // reason
	resent       *prometheus.CounterVec // topic
	verdicts     *prometheus.CounterVec // rule, verdict
	evicted      *prometheus.CounterVec // rule
	alerts       *prometheus.CounterVec // rule

	eventDelay  *prometheus.HistogramVec // rule; seconds
	recordDelay *prometheus.HistogramVec // rule; seconds
	rebalances  prometheus.Counter
	failures    *prometheus.CounterVec // part
	stalled     *prometheus.GaugeVec   // part
	logged      *prometheus.CounterVec // level
	suppressed  prometheus.Counter

	workRecords   *prometheus.CounterVec   // shard
	workLag       *prometheus.GaugeVec     // shard
	ready         *prometheus.GaugeVec     // shard
	repeats       *prometheus.CounterVec   // shard
	swept         *prometheus.CounterVec   // shard
	fenced        *prometheus.CounterVec   // shard
	commits       *prometheus.HistogramVec // shard; seconds
	commitRecords *prometheus.CounterVec   // shard
	commitBytes   *prometheus.CounterVec   // shard
	restores      *prometheus.CounterVec   // shard
	restoring     *prometheus.GaugeVec     // shard
}

// NewMetrics returns metrics in a registry of their own, together with those of
// the Go runtime and the process. The version labels trailhound_build_info.
func NewMetrics(version string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "trailhound_" + name, Help: help}, labels)
		m.registry.MustRegister(c)
		return c
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "trailhound_" + name, Help: help}, labels)
		m.registry.MustRegister(g)
		return g
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "trailhound_" + name, Help: help, Buckets: buckets}, labels)
		m.registry.MustRegister(h)
		return h
	}
	m.records = counter("input_records_total", "Records read from an input partition.", "topic", "partition")
	m.bytes = counter("input_bytes_total", "Bytes fetched from an input partition, as compressed.", "topic", "partition")
	m.events = counter("events_total", "CloudTrail events decoded from an input partition.", "topic", "partition")
	m.inputLag = gauge("input_lag_records", "Records between the router's position and the end of an input partition.", "topic", "partition")
	m.inputWaiting = gauge("input_waiting", "1 while an input partition waits for the slowest one to come up in event time.", "topic", "partition")
	m.matches = counter("matches_total", "Events that a rule's filter let through, as routed.", "rule")
	m.skipped = counter("skipped_total", "Records and events that hold nothing to evaluate, by reason.", "reason")
	m.deadLetters = counter("dead_letters_total", "Records and events sent to the dead-letter topic, by reason.", "reason")
	m.resent = counter("produce_retries_total", "Produce requests of the router that had to be sent again.", "topic")
	m.verdicts = counter("evaluations_total", "Evaluations of an event by a rule, by verdict; unknown_rule: the rule is off here, or not in this build.", "rule", "verdict")
	m.evicted = counter("evicted_members_total", "Members that gave way to others because their set or timeline was full.", "rule")
	m.alerts = counter("alerts_total", "Alerts of a rule, committed.", "rule")
	m.eventDelay = histogram("alert_event_delay_seconds", "Time from the event that completed an alert to the alert's commit: CloudTrail's delivery, the way into Kafka, and this program.",
		[]float64{.1, .5, 1, 5, 15, 60, 300, 600, 900, 1800, 3600, 7200, 21600, 86400, 604800}, "rule")
	m.recordDelay = histogram("alert_record_delay_seconds", "Time from the timestamp of the input record that completed an alert to the alert's commit.",
		[]float64{.002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 15, 60, 300, 3600, 86400}, "rule")
	m.rebalances = counter("rebalances_total", "Assignments that the consumer group has given this instance.").WithLabelValues()
	m.failures = counter("failures_total", "Requests to Kafka, or what is made of several, that failed and are tried again after a pause, by part of the pipeline.", "part")
	m.stalled = gauge("stalled", "Inputs, outputs and shards assigned to this instance that make no progress although they have something to do, and 1 for a local state whose disk does not answer, by part of the pipeline.", "part")
	for _, part := range stallParts {
		m.stalled.WithLabelValues(part)
	}
	m.logged = counter("log_messages_total", "Lines logged, by level.", "level")
	m.suppressed = counter("log_suppressed_total", "Lines not logged because the same had been said before.").WithLabelValues()
	m.workRecords = counter("work_records_total", "Work records of a shard that were evaluated; one holds the matching events of up to 64 KiB.", "shard")
	m.workLag = gauge("work_lag_records", "Work records of a shard that are not evaluated yet.", "shard")
	m.ready = gauge("shard_ready", "1 while this instance owns the shard and its state is complete.", "shard")
	m.repeats = counter("work_repeats_total", "Matching events dropped because a router had sent them before.", "shard")
	m.swept = counter("state_swept_keys_total", "Expired keys removed from the state.", "shard")
	m.fenced = counter("fenced_total", "Times that another instance took the shard away.", "shard")
	m.commitRecords = counter("commit_records_total", "Records in committed transactions.", "shard")
	m.commitBytes = counter("commit_bytes_total", "Bytes in committed transactions, before compression.", "shard")
	m.restores = counter("restores_total", "Times that the shard was taken and its state brought up to date.", "shard")
	m.restoring = gauge("restore_remaining_records", "Changelog offsets that a running restore has still to read.", "shard")
	m.commits = histogram("commit_duration_seconds", "Time from the end of a batch to its committed and applied transaction.",
		[]float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 15}, "shard")
	build := gauge("build_info", "Always 1; the labels tell the build: its version, the commit (empty: not known) and Go's version.", "version", "revision", "goversion")
	build.WithLabelValues(version, revision(), goVersion()).Set(1)
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Known are the label values that a build knows of before anything has happened.
type Known struct {
	Rules, Verdicts, DeadLetters, Skipped []string
}

// Expect makes the known series with 0 before their first event: increase() and rate() of
// Prometheus see the first alert or dead letter only as the difference to an earlier
// sample. https://prometheus.io/docs/practices/instrumentation/#avoid-missing-metrics
func (m *Metrics) Expect(k Known) {
	for _, rule := range k.Rules {
		m.matches.WithLabelValues(rule)
		m.evicted.WithLabelValues(rule)
		m.alerts.WithLabelValues(rule)
		m.eventDelay.WithLabelValues(rule)
		m.recordDelay.WithLabelValues(rule)
		for _, verdict := range k.Verdicts {
			m.verdicts.WithLabelValues(rule, verdict)
		}
	}
	for _, reason := range k.DeadLetters {
		m.deadLetters.WithLabelValues(reason)
	}
	for _, reason := range k.Skipped {
		m.skipped.WithLabelValues(reason)
	}
}

func goVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.GoVersion
	}
	return "unknown"
}

// revision is the commit that the program was built from, "" if that is not known.
func revision() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return ""
}

// InputMetrics holds the metrics of one input partition. It is for one goroutine.
type InputMetrics struct {
	topic, partition string

	Records, Events prometheus.Counter
	bytes           prometheus.Counter
	lag, waiting    prometheus.Gauge
	all             *Metrics
	matches         map[string]prometheus.Counter
}

// Input returns the metrics of one input partition.
func (m *Metrics) Input(topic string, partition int32) *InputMetrics {
	p := strconv.Itoa(int(partition))
	return &InputMetrics{
		topic: topic, partition: p,
		Records: m.records.WithLabelValues(topic, p), Events: m.events.WithLabelValues(topic, p),
		bytes: m.bytes.WithLabelValues(topic, p), lag: m.inputLag.WithLabelValues(topic, p),
		waiting: m.inputWaiting.WithLabelValues(topic, p),
		all:     m, matches: make(map[string]prometheus.Counter),
	}
}

// Read notes a fetch of n bytes that ended before next; end is the partition's.
func (i *InputMetrics) Read(next, end int64, n int) {
	i.bytes.Add(float64(n))
	i.lag.Set(float64(max(end-next, 0)))
}

// SetLag notes how many records of the partition are left to read.
func (i *InputMetrics) SetLag(left int64) { i.lag.Set(float64(left)) }

// Close deletes the gauges of a partition that this instance has stopped
// reading: the next owner reports its lag. The counters stay.
func (i *InputMetrics) Close() {
	i.all.inputLag.DeleteLabelValues(i.topic, i.partition)
	i.all.inputWaiting.DeleteLabelValues(i.topic, i.partition)
}

// SetWaiting notes whether the partition waits for a slower one.
func (i *InputMetrics) SetWaiting(waiting bool) {
	if waiting {
		i.waiting.Set(1)
	} else {
		i.waiting.Set(0)
	}
}

// Match counts one event that the rule's filter let through.
func (i *InputMetrics) Match(rule string) {
	c := i.matches[rule]
	if c == nil {
		c = i.all.matches.WithLabelValues(rule)
		i.matches[rule] = c
	}
	c.Inc()
}

// Skipped counts a record or event without anything to evaluate.
func (i *InputMetrics) Skipped(reason string) { i.all.skipped.WithLabelValues(reason).Inc() }

// DeadLetter counts a record or event given up.
func (i *InputMetrics) DeadLetter(reason string) { i.all.deadLetters.WithLabelValues(reason).Inc() }

// Resent returns the function that counts produce requests to topic that are sent again.
func (m *Metrics) Resent(topic string) func() { return m.resent.WithLabelValues(topic).Inc }

// Rebalanced counts an assignment.
func (m *Metrics) Rebalanced() { m.rebalances.Inc() }

// stallParts are the parts that may stand still.
var stallParts = []string{"input", "output", "shard", "state"}

// Stalled notes how many things stand still in each part; a part that is not named has none.
func (m *Metrics) Stalled(parts map[string]int) {
	for _, part := range stallParts {
		m.stalled.WithLabelValues(part).Set(float64(parts[part]))
	}
}

// Component counts the failures of one part of the pipeline that are tried again: "group",
// "input", "output" or "shard".
type Component struct{ Failures, Suppressed prometheus.Counter }

// Part returns the metrics of one part.
func (m *Metrics) Part(name string) *Component {
	return &Component{Failures: m.failures.WithLabelValues(name), Suppressed: m.suppressed}
}

// Suppressed returns the counter of lines left out of the log because the same
// line had been logged before.
func (m *Metrics) Suppressed() prometheus.Counter { return m.suppressed }

// ShardMetrics holds the metrics of one shard. It is for one goroutine.
type ShardMetrics struct {
	number         string
	Lag            prometheus.Gauge
	Records        prometheus.Counter
	Repeats, Swept prometheus.Counter
	Fenced         prometheus.Counter
	ready          prometheus.Gauge
	restoring      prometheus.Gauge
	restores       prometheus.Counter
	records, bytes prometheus.Counter
	commits        prometheus.Observer
	all            *Metrics
	verdicts       map[[2]string]prometheus.Counter
	alerts         map[string]alertMeters
}

// alertMeters are of the alerts of one rule.
type alertMeters struct {
	alerts        prometheus.Counter
	event, record prometheus.Observer
}

// Shard returns the metrics of one shard.
func (m *Metrics) Shard(n int) *ShardMetrics {
	s := strconv.Itoa(n)
	return &ShardMetrics{
		number: s,
		Lag:    m.workLag.WithLabelValues(s), Records: m.workRecords.WithLabelValues(s), Repeats: m.repeats.WithLabelValues(s), Swept: m.swept.WithLabelValues(s),
		Fenced: m.fenced.WithLabelValues(s), ready: m.ready.WithLabelValues(s), restoring: m.restoring.WithLabelValues(s),
		restores: m.restores.WithLabelValues(s), records: m.commitRecords.WithLabelValues(s), bytes: m.commitBytes.WithLabelValues(s),
		commits: m.commits.WithLabelValues(s), all: m, verdicts: make(map[[2]string]prometheus.Counter),
		alerts: make(map[string]alertMeters),
	}
}

// Close deletes the gauges of a shard that this instance has let go: the next owner
// reports its lag and its restore. The shard is not ready here any more, and the
// counters stay.
func (s *ShardMetrics) Close() {
	s.SetReady(false)
	s.all.workLag.DeleteLabelValues(s.number)
	s.all.restoring.DeleteLabelValues(s.number)
}

// SetReady says whether this instance owns the shard with complete state.
func (s *ShardMetrics) SetReady(ready bool) {
	if ready {
		s.ready.Set(1)
	} else {
		s.ready.Set(0)
	}
}

// Restoring notes how many changelog offsets a running restore has still to read.
func (s *ShardMetrics) Restoring(remaining int64) { s.restoring.Set(float64(max(remaining, 0))) }

// Restored notes that the shard was taken.
func (s *ShardMetrics) Restored() {
	s.restoring.Set(0)
	s.restores.Inc()
}

// maxVerdicts bounds the pairs of rule and verdict that a shard counts apart. The
// rules of one build have far fewer; more can only come out of a work topic that
// a foreign producer writes to.
const maxVerdicts = 1000

// otherRule is the rule label of the pairs beyond maxVerdicts.
const otherRule = "other"

// Verdict counts the outcome of one evaluation. The rule may be one that this
// build does not know.
func (s *ShardMetrics) Verdict(rule, verdict string) {
	key := [2]string{rule, verdict}
	c := s.verdicts[key]
	if c == nil {
		if len(s.verdicts) >= maxVerdicts {
			key[0] = otherRule
		}
		c = s.all.verdicts.WithLabelValues(strings.ToValidUTF8(key[0], "\uFFFD"), verdict)
		if len(s.verdicts) < maxVerdicts {
			s.verdicts[key] = c
		}
	}
	c.Inc()
}

// Evicted counts the members that gave way in full sets and timelines of the rule.
func (s *ShardMetrics) Evicted(rule string, n int) {
	s.all.evicted.WithLabelValues(strings.ToValidUTF8(rule, "\uFFFD")).Add(float64(n))
}

// Alerted counts a committed alert of the rule: how long ago its last event was, and
// how long ago that event's record was written. A delay below zero is not known, or of
// a clock that is wrong.
func (s *ShardMetrics) Alerted(rule string, event, record time.Duration) {
	c, ok := s.alerts[rule]
	if !ok {
		c = alertMeters{s.all.alerts.WithLabelValues(rule), s.all.eventDelay.WithLabelValues(rule), s.all.recordDelay.WithLabelValues(rule)}
		s.alerts[rule] = c
	}
	c.alerts.Inc()
	if event >= 0 {
		c.event.Observe(event.Seconds())
	}
	if record >= 0 {
		c.record.Observe(record.Seconds())
	}
}

// Skipped counts an event without anything to evaluate.
func (s *ShardMetrics) Skipped(reason string) { s.all.skipped.WithLabelValues(reason).Inc() }

// DeadLetter counts an event given up.
func (s *ShardMetrics) DeadLetter(reason string) { s.all.deadLetters.WithLabelValues(reason).Inc() }

// Committed notes a committed transaction of so many records and bytes.
func (s *ShardMetrics) Committed(took time.Duration, records, bytes int) {
	s.commits.Observe(took.Seconds())
	s.records.Add(float64(records))
	s.bytes.Add(float64(bytes))
}
