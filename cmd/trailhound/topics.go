package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"trailhound/consumer/kafka/topic"
	"trailhound/consumer/kafka/wire"
)

func topicsCommand(a *app) *cobra.Command {
	c := parent(&cobra.Command{Use: "topics", Short: "Check or create the topics that the service needs"})
	c.AddCommand(topicsCheckCommand(a), topicsCreateCommand(a))
	return c
}

func topicsCheckCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "check",
		Short: "Compare the topics with what the service needs; exit 1 if something is missing or wrong",
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.withKafka(c.Context(), func(s *setup, client *wire.Client) error {
				found, err := s.findTopicProblems(c.Context(), client)
				if found == nil {
					return err
				}
				if asJSON {
					return errors.Join(a.jsonLine(found), err)
				}
				return errors.Join(printTopics(a, found), err)
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

// printTopics writes the findings of topics check; problems are left to its error.
func printTopics(a *app, found *checkedTopics) error {
	for _, w := range found.Warnings {
		fmt.Fprintln(a.stderr, "warning: "+w)
	}
	for _, n := range found.Notes {
		fmt.Fprintln(a.stderr, "note: "+n)
	}
	if !found.OK {
		return nil
	}
	_, err := fmt.Fprintln(a.stdout, "the topics are as the service needs them")
	return err
}

// retentionWarnings warns of inputs that keep records longer than the brokers keep the
// group's offsets.
func (s *setup) retentionWarnings(ctx context.Context, client *wire.Client) ([]string, error) {
	infos, err := topic.Describe(ctx, client, s.config.Topics.Input...)
	if err != nil {
		return nil, err
	}
	warnings, err := s.topology().Retention(ctx, client, infos)
	if err != nil {
		warnings = []string{"offsets.retention.minutes was not compared with the retention of the inputs: " + err.Error()}
	}
	return append([]string{}, warnings...), nil
}

func topicsCreateCommand(a *app) *cobra.Command {
	var inputs int
	var alter, asJSON bool
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
			return a.withKafka(c.Context(), func(s *setup, client *wire.Client) error {
				app := s.topology()
				app.CreateInput, app.InputPartitions = inputs > 0, inputs
				done := settledTopics{Created: []string{}, Changed: []changedTopic{}}
				err := s.createTopics(c.Context(), client, app, alter, &done)
				if asJSON {
					return errors.Join(a.jsonLine(done), err)
				}
				return errors.Join(printSettled(a, &done), err)
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	c.Flags().BoolVar(&alter, "alter", false, "also change the settings of topics that are there to what the service needs")
	c.Flags().IntVar(&inputs, "input-partitions", 0, "also create missing input topics, with `N` partitions each")
	return c
}

// createTopics creates the missing topics of app, with alter changes the settings of
// existing ones to those that the service needs, and returns the problems left. The changes
// made until then are in done.
func (s *setup) createTopics(ctx context.Context, client *wire.Client, app topic.App, alter bool, done *settledTopics) error {
	purpose := "topics-create"
	if alter {
		purpose = "topics-alter"
	}
	created, err := topic.Create(ctx, client, app)
	done.Created = append(done.Created, created...)
	if err != nil {
		return s.allRights(ctx, client, purpose, err)
	}
	if !alter {
		return s.checkExisting(ctx, client, 0)
	}
	changed, err := topic.Alter(ctx, client, s.topology())
	for _, c := range changed {
		done.Changed = append(done.Changed, changedTopic{Topic: c.Topic, Setting: c.Key, Was: c.Was, Value: c.Value})
	}
	if err != nil {
		return s.allRights(ctx, client, purpose, err)
	}
	return s.checkExisting(ctx, client, settlesWithin)
}

// printSettled names the topics that were created, and each change.
func printSettled(a *app, done *settledTopics) error {
	for _, name := range done.Created {
		if _, err := fmt.Fprintln(a.stdout, name); err != nil {
			return err
		}
	}
	for _, c := range done.Changed {
		if _, err := fmt.Fprintln(a.stdout, topic.Setting{Topic: c.Topic, Key: c.Setting, Was: c.Was, Value: c.Value}); err != nil {
			return err
		}
	}
	return nil
}

// checkExisting refuses existing topics with wrong settings. Brokers may show the settings
// from before a change for as long as within.
func (s *setup) checkExisting(ctx context.Context, client *wire.Client, within time.Duration) error {
	wait := wire.Backoff{Least: 50 * time.Millisecond, Most: time.Second}
	for began := time.Now(); ; {
		problems, err := topic.Check(ctx, client, s.topology())
		if err != nil {
			return err
		}
		problems = slices.DeleteFunc(problems, func(p topic.Problem) bool { return p.Missing || p.Loss && s.config.AcceptLoss })
		if len(problems) == 0 || time.Since(began) >= within || wait.Sleep(ctx) != nil {
			return problemsError(problems)
		}
	}
}

// settlesWithin is longer than a change takes to reach all brokers.
const settlesWithin = 2 * time.Second

// reducedNotes tells which output topics are too small for the largest alerts or dead letters.
func (s *setup) reducedNotes(ctx context.Context, client *wire.Client) ([]string, error) {
	infos, err := topic.Describe(ctx, client, s.topology().Topics()...)
	if err != nil {
		return nil, err
	}
	return append([]string{}, s.topology().Reduced(infos)...), nil
}

// checkedTopics is the outcome of topics check, as JSON.
type checkedTopics struct {
	OK       bool           `json:"ok"`
	Problems []topicProblem `json:"problems"`
	Warnings []string       `json:"warnings"`
	Notes    []string       `json:"notes"`
}

type topicProblem struct {
	Topic   string `json:"topic"` // "" for a problem of the brokers, or of the configuration
	What    string `json:"what"`
	Remedy  string `json:"remedy"`
	Missing bool   `json:"missing"`
}

// settledTopics is the outcome of topics create, as JSON.
type settledTopics struct {
	Created []string       `json:"created"`
	Changed []changedTopic `json:"changed"`
}

type changedTopic struct {
	Topic   string `json:"topic"`
	Setting string `json:"setting"`
	Was     string `json:"was"`
	Value   string `json:"value"`
}

// findTopicProblems compares the topics and the brokers with the needs of the service. With
// a nil result the error means that the check could not be made; else it describes the
// problems.
func (s *setup) findTopicProblems(ctx context.Context, client *wire.Client) (*checkedTopics, error) {
	out := &checkedTopics{Problems: []topicProblem{}, Warnings: []string{}, Notes: []string{}}
	problems, err := topic.Check(ctx, client, s.topology())
	if err != nil {
		return nil, s.allRights(ctx, client, "run", err)
	}
	for _, p := range problems {
		out.Problems = append(out.Problems, topicProblem{Topic: p.Topic, What: p.What, Remedy: p.Remedy, Missing: p.Missing})
	}
	err = s.preflight(ctx, client)
	if err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			out.Problems = append(out.Problems, topicProblem{What: line})
		}
	}
	if err = errors.Join(problemsError(problems), err); err != nil {
		return out, err
	}
	if out.Warnings, err = s.retentionWarnings(ctx, client); err != nil {
		return nil, err
	}
	if out.Notes, err = s.reducedNotes(ctx, client); err != nil {
		return nil, err
	}
	out.OK = true
	return out, nil
}
