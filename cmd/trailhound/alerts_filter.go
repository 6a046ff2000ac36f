package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"trailhound/consumer/kafka/wire"
	"trailhound/rules"
)

// severities are the values of --severity.
var severities = []string{
	string(rules.SeverityInfo), string(rules.SeverityLow), string(rules.SeverityMedium), string(rules.SeverityHigh), string(rules.SeverityCritical),
}

// mostLast bounds --last: that many alerts are held in memory.
const mostLast = 10_000

// alertFlags are the flags of alerts as they are typed.
type alertFlags struct {
	asJSON, withRecord, fresh, noFollow bool

	since      string
	last       int
	rules      []string
	severities []string
	partitions []int32
}

func (f *alertFlags) add(c *cobra.Command) {
	flags := c.Flags()
	flags.BoolVar(&f.asJSON, "json", false, "print JSON lines on a terminal too")
	flags.BoolVar(&f.withRecord, "with-record", false, "with the place and the timestamp of each in the topic")
	flags.BoolVar(&f.fresh, "new", false, "start with the next alert instead of the first one")
	flags.BoolVar(&f.noFollow, "no-follow", false, "end at the last alert instead of waiting for more")
	flags.StringVar(&f.since, "since", "", "start with the first alert written at this `TIME` or later, as in 24h, 7d or 2026-03-01T00:00Z")
	flags.IntVar(&f.last, "last", 0, "start with the last `N` of the alerts that are there, by the times at which they were written")
	flags.StringSliceVar(&f.rules, "rule", nil, "only those of this `RULE`; may be given often")
	flags.StringSliceVar(&f.severities, "severity", nil, "only those of this `SEVERITY`: "+strings.Join(severities, ", ")+"; may be given often")
	flags.Int32SliceVar(&f.partitions, "partition", nil, "only those of partition `N` of the topic; may be given often")
	flags.Lookup("partition").DefValue = "" // or help shows []
	// An error would mean an unknown flag.
	_ = c.RegisterFlagCompletionFunc("rule", cobra.FixedCompletions(ruleIDs(), cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("severity", cobra.FixedCompletions(severities, cobra.ShellCompDirectiveNoFileComp))
}

// check checks the flags before anything is asked of Kafka, and returns the time of --since.
func (f *alertFlags) check(now time.Time) (since time.Time, err error) {
	for _, rule := range f.rules {
		if !slices.Contains(ruleIDs(), rule) {
			return since, unknownRule(rule)
		}
	}
	for _, severity := range f.severities {
		if !slices.Contains(severities, severity) {
			return since, usagef("unknown severity %q; there are %s", severity, strings.Join(severities, ", "))
		}
	}
	for _, n := range f.partitions {
		if n < 0 {
			return since, usagef("--partition %d: partitions count from 0", n)
		}
	}
	if f.last < 0 || f.last > mostLast {
		return since, usagef("--last %d: a number of alerts is wanted, %d at most", f.last, mostLast)
	}
	if f.fresh && (f.since != "" || f.last > 0) {
		return since, usagef("--new starts behind all alerts that are there, and --since and --last among them; give one of them")
	}
	return rangeTime("--since", f.since, now)
}

// checkPartitions refuses a partition that the topic does not have. A missing topic is left
// to its reader to report.
func (f *alertFlags) checkPartitions(ctx context.Context, client *wire.Client, topic string) error {
	if len(f.partitions) == 0 {
		return nil
	}
	meta, err := client.Topics(ctx, topic)
	if err != nil || meta[topic].Err != nil {
		return err
	}
	for _, n := range f.partitions {
		if there := len(meta[topic].Partitions); int(n) >= there {
			return fmt.Errorf("--partition %d: topic %s has no partition %d; it has %d, from 0 on", n, topic, n, there)
		}
	}
	return nil
}

// takes reports whether the filter admits an alert. A record that is no alert passes, so
// that the printer reports it.
func (f *alertFlags) takes(partition int32, rec *wire.Record) bool {
	if len(f.partitions) > 0 && !slices.Contains(f.partitions, partition) {
		return false
	}
	if len(f.rules) == 0 && len(f.severities) == 0 {
		return true
	}
	var al struct {
		Rule     string `json:"rule_id"`
		Severity string `json:"severity"`
	}
	if err := json.Unmarshal(rec.Value, &al); err != nil {
		return true
	}
	return (len(f.rules) == 0 || slices.Contains(f.rules, al.Rule)) && (len(f.severities) == 0 || slices.Contains(f.severities, al.Severity))
}

// placedRecord is a record and its partition.
type placedRecord struct {
	partition int32
	wire.Record
}

// newest keeps the newest of the records added to it, without keys and headers.
type newest struct {
	most    int
	records []placedRecord // sorted
}

func (n *newest) add(partition int32, rec *wire.Record) {
	kept := placedRecord{partition, wire.Record{Offset: rec.Offset, Timestamp: rec.Timestamp}}
	at, _ := slices.BinarySearchFunc(n.records, kept, comparePlaced)
	if len(n.records) == n.most && at == 0 {
		return
	}
	kept.Value = bytes.Clone(rec.Value)
	n.records = slices.Insert(n.records, at, kept)
	if len(n.records) > n.most {
		n.records = slices.Delete(n.records, 0, 1)
	}
}

func comparePlaced(x, y placedRecord) int {
	return cmp.Or(cmp.Compare(x.Timestamp, y.Timestamp), cmp.Compare(x.partition, y.partition), cmp.Compare(x.Offset, y.Offset))
}
