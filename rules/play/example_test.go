package play_test

import (
	"context"
	"fmt"
	"time"

	"trailhound/rules"
	"trailhound/rules/play"
	"trailhound/state"
)

// Denials of one user in records as a Kafka topic has them, evaluated by one rule with a state
// of its own.
func Example() {
	engine, err := rules.NewEngine([]rules.Active{
		{Rule: &rules.AccessDenied{ErrorCodes: []string{"AccessDenied"}, Threshold: 3, Window: time.Hour}},
	}, rules.Limits{})
	if err != nil {
		panic(err)
	}
	player, err := play.New(play.Options{
		Engine: engine,
		Shards: 1,
		Alert: func(ev *rules.Event, a *rules.Alert) error {
			fmt.Printf("%s: %s\n", ev.Time.Format(time.TimeOnly), a.Dedup)
			return nil
		},
		Rejected: func(at state.Source, _ int, reason rules.Reason, _ string) {
			fmt.Printf("offset %d: %s\n", at.Offset, reason)
		},
	})
	if err != nil {
		panic(err)
	}
	defer player.Close()

	err = player.Run(context.Background(), func(_ context.Context, add func(*play.Batch) error) error {
		var b play.Batch
		for offset := range int64(4) {
			value := fmt.Sprintf(`{"eventVersion":"1.11","eventName":"GetObject","eventTime":"2026-03-01T10:0%d:00Z","errorCode":"AccessDenied",
				"eventSource":"s3.amazonaws.com","userIdentity":{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/alice"}}`, offset)
			if offset == 1 {
				value = "no event"
			}
			b.Records = append(b.Records, play.Record{At: state.Source{Topic: "trail", Offset: offset}, Value: []byte(value)})
		}
		return add(&b)
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(player.Counts().Events, "events")
	// Output:
	// offset 1: not_json
	// 10:03:00: access_denied:arn:aws:iam::111122223333:user/alice
	// 3 events
}
