package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"trailhound/consumer"
	"trailhound/consumer/kafka/wire"
)

// rewound is the request to the instances, as JSON.
type rewound struct {
	App    string    `json:"app_id"`
	To     time.Time `json:"to"`
	Shards []int     `json:"shards"` // empty: all
}

func stateRewindCommand(a *app) *cobra.Command {
	var to string
	var shards []int
	var asJSON bool
	c := &cobra.Command{
		Use:   "rewind --to TIME",
		Short: "Set the app's event time back, after an event of an absurd time has made all others too late",
		Long: "Rewind sets the newest event times that the app knows of its inputs back to a time, as far as they lie beyond\n" +
			"it. Events that follow are then late by what really is the newest. The running instances carry it out, once and\n" +
			"in order with the events that wait for them; without one it waits for the next. What was removed from the state\n" +
			"because of the absurd time does not come back, and what went to the dead-letter topic is for replay to evaluate.",
		Example: "  trailhound state rewind --to -1h\n  trailhound state rewind --shard 3 --to 2026-03-01T10:00:00Z",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if to == "" {
				return usagef("--to is missing: the time to set back to, such as -1h or 2026-03-01T10:00:00Z")
			}
			at, err := rangeTime("--to", to, time.Now())
			if err != nil {
				return err
			}
			return rewindState(c.Context(), a, shards, at, asJSON)
		},
	}
	c.Flags().StringVar(&to, "to", "", "set times beyond this `TIME` back to it")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	c.Flags().IntSliceVar(&shards, "shard", nil, "only this shard `N`; may be given more than once; without it, all")
	return c
}

func rewindState(ctx context.Context, a *app, shards []int, to time.Time, asJSON bool) error {
	return a.withKafka(ctx, func(s *setup, client *wire.Client) error {
		if err := consumer.Rewind(ctx, client, s.topology(), shards, to, s.config.Kafka.RequestTimeout); err != nil {
			return err
		}
		if asJSON {
			return a.jsonLine(rewound{s.config.AppID, to.UTC(), append([]int{}, shards...)})
		}
		_, err := fmt.Fprintf(a.stdout, "times beyond %s are set back; the log of the instances says time_rewound, for each shard\n", to.UTC().Format(time.RFC3339))
		return err
	})
}
