package main

import (
	"context"
	"errors"
	"strings"

	"trailhound/consumer/kafka/topic"
	"trailhound/consumer/kafka/wire"
)

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
