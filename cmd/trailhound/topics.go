package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"trailhound/consumer/topic"
	"trailhound/consumer/wire"
)

func (a *app) topicsCommand() *cobra.Command {
	c := group(&cobra.Command{Use: "topics", Short: "Check or create the topics that the service needs"})
	c.AddCommand(a.topicsCheckCommand(), a.topicsCreateCommand())
	return c
}

func (a *app) topicsCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Compare the topics with what the service needs; exit 1 if something is missing or wrong",
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withKafka(c.Context(), func(s *settings, client *wire.Client) error {
				problems, err := topic.Check(c.Context(), client, s.topology())
				if err != nil {
					return s.allRights(c.Context(), client, "run", err)
				}
				err = s.preflight(c.Context(), client)
				if wrong := problemsError(problems); wrong != nil {
					return errors.Join(wrong, err)
				}
				if err != nil {
					return err
				}
				if err := a.noteRetention(c.Context(), s, client); err != nil {
					return err
				}
				if err := a.noteReduced(c.Context(), s, client); err != nil {
					return err
				}
				_, err = fmt.Fprintln(a.stdout, "the topics are as the service needs them")
				return err
			})
		},
	}
}

// noteRetention warns, on stderr, of inputs that keep records longer than the brokers keep the group's offsets.
func (a *app) noteRetention(ctx context.Context, s *settings, client *wire.Client) error {
	infos, err := topic.Describe(ctx, client, s.Topics.Input...)
	if err != nil {
		return err
	}
	warnings, err := s.topology().Retention(ctx, client, infos)
	if err != nil {
		warnings = []string{"offsets.retention.minutes was not compared with the retention of the inputs: " + err.Error()}
	}
	for _, w := range warnings {
		if _, err := fmt.Fprintln(a.stderr, "warning: "+w); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) topicsCreateCommand() *cobra.Command {
	var inputs int
	var alter bool
	c := &cobra.Command{
		Use:   "create",
		Short: "Create the topics that are missing, with the right settings; print their names",
		Long: "Create makes the topics that are missing and prints their names. Topics that are there stay as they are, unless\n" +
			"--alter is given: then their settings are brought to what the service needs, and each change is printed,\n" +
			"old -> new. Inputs are never changed, and neither are numbers of partitions and replicas.",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if c.Flags().Changed("input-partitions") && inputs < 1 {
				return usagef("--input-partitions %d: a topic has at least one partition", inputs)
			}
			return a.withKafka(c.Context(), func(s *settings, client *wire.Client) error {
				app := s.topology()
				app.CreateInput, app.InputPartitions = inputs > 0, inputs
				created, err := topic.Create(c.Context(), client, app)
				for _, name := range created {
					if _, err := fmt.Fprintln(a.stdout, name); err != nil {
						return err
					}
				}
				if err != nil {
					return s.allRights(c.Context(), client, "topics-create", err)
				}
				if alter {
					return a.alterTopics(c.Context(), s, client)
				}
				return s.checkExisting(c.Context(), client, 0)
			})
		},
	}
	c.Flags().BoolVar(&alter, "alter", false, "also change the settings of topics that are there to what the service needs")
	c.Flags().IntVar(&inputs, "input-partitions", 0, "also create missing input topics, with `N` partitions each")
	return c
}

// alterTopics brings the settings of topics that are there to what the service needs, prints each change, and says what
// stays wrong.
func (a *app) alterTopics(ctx context.Context, s *settings, client *wire.Client) error {
	changed, err := topic.Alter(ctx, client, s.topology())
	for _, setting := range changed {
		if _, err := fmt.Fprintln(a.stdout, setting); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	return s.checkExisting(ctx, client, settlesWithin)
}

// checkExisting refuses topics that are there and wrong. Brokers may show what was before a change for so long.
func (s *settings) checkExisting(ctx context.Context, client *wire.Client, within time.Duration) error {
	wait := wire.Backoff{Least: 50 * time.Millisecond, Most: time.Second}
	for began := time.Now(); ; {
		problems, err := topic.Check(ctx, client, s.topology())
		if err != nil {
			return err
		}
		problems = slices.DeleteFunc(problems, func(p topic.Problem) bool { return p.Missing || p.Loss && s.AcceptLoss })
		if len(problems) == 0 || time.Since(began) >= within || wait.Sleep(ctx) != nil {
			return problemsError(problems)
		}
	}
}

// settlesWithin is more than it takes for a change to be known to all brokers.
const settlesWithin = 2 * time.Second

// noteReduced says, on stderr, what the output topics do not take.
func (a *app) noteReduced(ctx context.Context, s *settings, client *wire.Client) error {
	infos, err := topic.Describe(ctx, client, s.topology().Topics()...)
	if err != nil {
		return err
	}
	for _, note := range s.topology().Reduced(infos) {
		if _, err := fmt.Fprintln(a.stderr, "note: "+note); err != nil {
			return err
		}
	}
	return nil
}
