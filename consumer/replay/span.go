package replay

import (
	"context"
	"time"

	"trailhound/consumer/kafka/wire"
	"trailhound/rules/play"
)

// spanOffsets is how many offsets at either end of a partition are looked at: some of
// them may be those of control records, or of what was aborted.
const spanOffsets = 100

// Span returns the least and the greatest timestamp of records at the beginning and
// at the end of the ranges' partitions, whatever the ranges; the zero time if none
// has one. Without found there are no records. It is for people whose range is empty,
// and reads no more than that.
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
