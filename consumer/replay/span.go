package replay

import (
	"context"
	"time"

	"trailhound/consumer/kafka/wire"
	"trailhound/rules/play"
)

// spanOffsets is how many offsets at either end of a partition are looked at: some of
// them may be those of control records, or of aborted ones.
const spanOffsets = 100

// Span returns the least and the greatest timestamp of the records at both ends of the
// ranges' partitions, for a message about an empty range; From and To do not matter. The
// times are zero if no record has one. Not found: there are no records. Span reads
// spanOffsets at each end and no more.
func Span(ctx context.Context, c *wire.Client, ranges []Range) (first, last time.Time, found bool, err error) {
	r := Reader{Client: c, AcceptLoss: true}
	for _, g := range ranges {
		head, tail := g, g
		head.From, head.To = g.start, min(g.start+spanOffsets, g.end)
		tail.From, tail.To = max(head.To, g.end-spanOffsets), g.end
		r.Ranges = append(r.Ranges, head, tail)
	}
	err = r.Run(ctx, func(b *play.Batch) error {
		found = found || len(b.Records) > 0
		for _, rec := range b.Records {
			if rec.Time.IsZero() {
				continue
			}
			if first.IsZero() || rec.Time.Before(first) {
				first = rec.Time
			}
			if rec.Time.After(last) {
				last = rec.Time
			}
		}
		b.Done()
		return nil
	})
	return first, last, found, err
}
