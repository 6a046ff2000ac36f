package explain_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"trailhound/rules"
	"trailhound/rules/explain"
	"trailhound/rules/play"
)

// denial is the n-th denial of one user, as CloudTrail writes it.
func denial(n int) []byte {
	return fmt.Appendf(nil, `{"eventVersion":"1.11","eventID":"denial-%d","eventName":"GetObject","eventTime":"2026-03-01T10:0%d:00Z","errorCode":"AccessDenied",
		"eventSource":"s3.amazonaws.com","userIdentity":{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/alice"}}`, n, n)
}

// The alert of three denials is explained when the input holds only the last two any more:
// the first is named as missing, and counted as the alert tells of it.
func Example() {
	rule := &rules.AccessDenied{ErrorCodes: []string{"AccessDenied"}, Threshold: 3, Window: time.Hour}
	alert, err := explain.ReadAlert(alertOf(rule))
	if err != nil {
		panic(err)
	}
	x := explain.Explainer{
		Alert: alert,
		Rule:  rule,
		Decode: func(parameters json.RawMessage, _ rules.Rule) error {
			if !json.Valid(parameters) {
				return errors.New("no JSON")
			}
			return nil
		},
		Read: func(_ context.Context, steps []*explain.Step, take func(*explain.Step, []byte, time.Time)) error {
			for _, s := range steps {
				if s.Offset == 0 {
					s.Missing = "it was deleted"
					continue
				}
				take(s, denial(int(s.Offset)), time.Time{})
			}
			return nil
		},
	}
	e, err := x.Explain(context.Background())
	if err != nil {
		panic(err)
	}
	for _, s := range e.Timeline {
		if s.Missing != "" {
			fmt.Printf("%s: %s\n", s.EventID, s.Missing)
			continue
		}
		fmt.Printf("%s: %d before it\n", s.EventID, s.Before[0].Count)
	}
	fmt.Println("the play comes to the alert:", e.Result)
	// Output:
	// denial-0: it was deleted
	// denial-1: 1 before it
	// denial-2: 2 before it
	// the play comes to the alert: same
}

// alertOf returns the alert that the rule makes of three denials.
func alertOf(rule rules.Rule) (payload []byte) {
	engine, err := rules.NewEngine([]rules.Active{{Rule: rule}}, rules.Limits{})
	if err != nil {
		panic(err)
	}
	player, err := play.New(play.Options{Engine: engine, Shards: 1, Alert: func(_ *rules.Event, a *rules.Alert) error {
		payload = append(payload, a.Payload...)
		return nil
	}})
	if err != nil {
		panic(err)
	}
	defer player.Close()
	err = player.Run(context.Background(), func(_ context.Context, add func(*play.Batch) error) error {
		var b play.Batch
		for n := range 3 {
			r := play.Record{Value: denial(n)}
			r.At.Topic, r.At.Offset = "trail", int64(n)
			b.Records = append(b.Records, r)
		}
		return add(&b)
	})
	if err != nil {
		panic(err)
	}
	return payload
}
