package cloudtrail

import (
	"fmt"
	"testing"
)

// The members that few events have are noted by the decoder as Raw has them.
func TestRareMembers(t *testing.T) {
	const head = `{"eventVersion":"1.11","eventTime":"2026-03-01T10:00:00Z","eventID":"own"`
	same := func(record []byte) (rare int) {
		Decode(record, func(e *Event, err error) bool {
			if err != nil {
				return true
			}
			bare := Event{ID: e.ID, Raw: e.Raw}
			got := fmt.Sprintf("%q %q %q", e.Identifier(), e.SharedID(), e.VPCEndpoint())
			if want := fmt.Sprintf("%q %q %q", bare.Identifier(), bare.SharedID(), bare.VPCEndpoint()); got != want {
				t.Errorf("Identifier(), SharedID(), VPCEndpoint() of %.200s = %s; want %s", record, got, want)
			}
			if e.SharedID() != "" || e.VPCEndpoint() != "" || e.Identifier() != e.ID {
				rare++
			}
			return true
		})
		return rare
	}
	for _, c := range []struct {
		members string
		rare    int
	}{
		{``, 0},
		{`,"sharedEventID":"s"`, 1},
		{`,"sharedEventID":null,"vpcEndpointId":7,"addendum":null`, 0},
		{`,"sharedEventID":"s","sharedEventID":{}`, 0},
		{`,"shared\u0045ventID":"s\u0020\ud83d\ude00"`, 1},
		{`,"vpcEndpointId":"vpce-1"`, 1},
		{`,"requestParameters":{"vpcEndpointId":"vpce-1","sharedEventID":"s"}`, 0},
		{`,"addendum":{"reason":"UPDATED_DATA","originalEventID":"first"}`, 1},
		{`,"\u0061ddendum":{"reason":"UPDATED_\u0044ATA","originalEventID":"first"}`, 1},
		{`,"addendum":"{\"reason\":\"UPDATED_DATA\",\"originalEventID\":\"first\"}"`, 1},
		{`,"addendum":{"reason":"DELIVERY_DELAY","originalEventID":"first"}`, 0},
		{`,"addendum":[],"addendum":{"reason":"UPDATED_DATA","originalEventID":"first"}`, 1},
		{`,"addendum":{"reason":"UPDATED_DATA","originalEventID":"first"},"addendum":false`, 0},
	} {
		for _, record := range []string{head + c.members + "}", `{"Records":[` + head + c.members + `},` + head + `}]}`} {
			if rare := same([]byte(record)); rare != c.rare {
				t.Errorf("%d events of %s have a member of these; want %d", rare, record, c.rare)
			}
		}
	}
	rare := 0
	for _, file := range []string{"invictus_aws_dataset.jsonl.gz", "stratus_red_team_detonation.jsonl.gz"} {
		for _, record := range corpus(t, file) {
			rare += same(record)
		}
	}
	if rare == 0 {
		t.Error("no event of the corpus has a member of these; want some")
	}
}
