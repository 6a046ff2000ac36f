package main

import (
	"context"
	"fmt"

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
					return err
				}
				if err := problemsError(problems); err != nil {
					return err
				}
				if err := a.noteRetention(c.Context(), s, client); err != nil {
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
	c := &cobra.Command{
		Use:   "create",
		Short: "Create the topics that are missing, with the right settings; print their names",
		Args:  noArgs,
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
				return err
			})
		},
	}
	c.Flags().IntVar(&inputs, "input-partitions", 0, "also create missing input topics, with `N` partitions each")
	return c
}
