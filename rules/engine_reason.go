package rules

import (
	"fmt"
	"runtime/debug"
	"strings"

	"trailhound/rules/cloudtrail"
)

// Reason says in one word why a record, an event or an evaluation was refused.
type Reason = cloudtrail.Reason

// The reasons for which the engine rejects an event, or one rule's evaluation
// of it. Those of a limit of the state have the name that [state.LimitError]
// gives them.
const (
	ReasonTooLate       Reason = "too_late"        // older than the newest event of its input partition − Limits.MaxLateness
	ReasonTooFarAhead   Reason = "too_far_ahead"   // newer than the earlier of its Kafka record's timestamp and the router's clock + Limits.MaxAhead
	ReasonKeyTooLong    Reason = "key_too_long"    // the rule's key is over the state's limit
	ReasonSetFull       Reason = "set_full"        // a set has its largest number of members, and would get another
	ReasonMemberTooLong Reason = "member_too_long" // a member of a set is over the state's limit
	ReasonValueTooLarge Reason = "value_too_large" // another value is over the state's limit
	ReasonRulePanic     Reason = "rule_panic"      // the rule panicked; the detail holds the stack
	ReasonAlertTooLarge Reason = "alert_too_large" // the alert is over Limits.MaxAlertBytes with every optional part left out
	ReasonNoKey         Reason = "no_key"          // the rule looks for such events, but this one has nothing to key it by; counted only
)

// Skip reports whether a reason is only counted, because nothing was lost.
func Skip(r Reason) bool {
	switch r {
	case cloudtrail.ReasonTombstone, cloudtrail.ReasonEmpty, cloudtrail.ReasonS3Notification, cloudtrail.ReasonDigest,
		cloudtrail.ReasonControlMessage, ReasonNoKey:
		return true
	}
	return false
}

// SkipReasons are the reasons that are counted only, those of package cloudtrail included.
func SkipReasons() []Reason { return append(cloudtrail.SkipReasons(), ReasonNoKey) }

// DeadLetterReasons are the reasons that send a record or an event to the dead-letter
// topic, those of package cloudtrail included.
func DeadLetterReasons() []Reason {
	return append(cloudtrail.DeadLetterReasons(),
		ReasonTooLate, ReasonTooFarAhead, ReasonKeyTooLong, ReasonSetFull, ReasonMemberTooLong, ReasonValueTooLarge, ReasonRulePanic,
		ReasonAlertTooLarge)
}

// A Rejection says why an event was not evaluated. Unless its reason is one to
// skip ([Skip]), the event belongs in the dead-letter topic.
type Rejection struct {
	Rule   string // "" when it concerns the event as a whole
	Reason Reason
	Detail string // a sentence; for a panic with the stack, several lines
}

const maxStackBytes = 4 << 10

// panicked describes a panic of a rule. It must be called by the deferred
// function that recovered, while the stack still stands.
func panicked(rule, method string, value any) Rejection {
	return Rejection{
		Rule:   rule,
		Reason: ReasonRulePanic,
		Detail: fmt.Sprintf("rule %s panicked in %s: %s\n%s", rule, method, Clip(fmt.Sprint(value)), stack()),
	}
}

// stack is the stack of a panic, from the frame that panicked downwards.
func stack() string {
	s := string(debug.Stack())
	if i := strings.LastIndex(s, "\npanic("); i >= 0 {
		s = s[i+1:]
		for range 2 { // the line of panic itself, and its position
			_, s, _ = strings.Cut(s, "\n")
		}
	}
	if len(s) > maxStackBytes {
		s = s[:maxStackBytes] + "…"
	}
	return s
}
