package cloudtrail

import (
	"fmt"
	"unicode/utf8"
)

// Reason says in one word why a record or an event is refused, or an evaluation is dropped;
// package rules has more reasons. A Reason is the value of a metric label and of a dead
// letter's header, so the words are part of the program's interface.
type Reason string

// Reasons of Decode that send the record to the dead-letter topic.
const (
	ReasonNotJSON          Reason = "not_json"           // a value is not JSON
	ReasonCutOff           Reason = "cut_off"            // the record ends inside a value
	ReasonTooDeep          Reason = "too_deep"           // JSON nested more than 10,000 deep, or envelopes more than 8 deep
	ReasonUnknownShape     Reason = "unknown_shape"      // JSON, but neither an event nor an envelope of events
	ReasonForeignSource    Reason = "foreign_source"     // an event in an EventBridge event with a source that is not one of AWS
	ReasonNoEventTime      Reason = "no_event_time"      // an event without eventTime
	ReasonBadEventTime     Reason = "bad_event_time"     // eventTime is neither RFC 3339 nor a timestamp of SQL, or not between 1970 and 2262
	ReasonBadGzip          Reason = "bad_gzip"           // gzip, or base64 of gzip, that does not unpack
	ReasonUnpackedTooLarge Reason = "unpacked_too_large" // a record unpacks to more than Decoder.MaxUnpacked
	ReasonEventTooLarge    Reason = "event_too_large"    // an event takes more than a 32nd of Decoder.MaxHeld, or than the work topic takes
	ReasonTooManyErrors    Reason = "too_many_errors"    // a record has so many errors that the rest of it was not read
)

// Reasons of Decode that are counted only: the record is in order and holds no
// event.
const (
	ReasonTombstone      Reason = "tombstone"       // null value
	ReasonEmpty          Reason = "empty"           // empty value, or an envelope without events
	ReasonS3Notification Reason = "s3_notification" // points at S3 objects that hold the events
	ReasonDigest         Reason = "digest"          // digest file of CloudTrail's log file validation
	ReasonControlMessage Reason = "control_message" // CloudWatch Logs or SNS checking or confirming a subscription
)

// DecodeError says why a record, or one event in it, is refused.
type DecodeError struct {
	Index  int    // of the event in the record, counted from 0; -1: the whole record
	Reason Reason // for metrics and headers
	Detail string // for people
}

// Error returns the detail, with the event's index where there is one.
func (e *DecodeError) Error() string {
	if e.Index < 0 {
		return fmt.Sprintf("decode record: %s: %s", e.Reason, e.Detail)
	}
	return fmt.Sprintf("decode event %d of the record: %s: %s", e.Index, e.Reason, e.Detail)
}

// problem is the error about a value; the Decoder numbers it when it takes note of it.
func problem(reason Reason, detail string, values ...any) *DecodeError {
	return &DecodeError{Reason: reason, Detail: fmt.Sprintf(detail, values...)}
}

// Clip returns s, cut between characters to at most that many bytes and marked with … if it
// is longer.
func Clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most] + "…"
}

// quoted bounds a value from an event in a message.
const quoted = 64

// DeadLetterReasons are the reasons of this package that send a record or an event to
// the dead-letter topic.
func DeadLetterReasons() []Reason {
	return []Reason{
		ReasonNotJSON, ReasonCutOff, ReasonTooDeep, ReasonUnknownShape, ReasonForeignSource, ReasonNoEventTime, ReasonBadEventTime,
		ReasonBadGzip, ReasonUnpackedTooLarge, ReasonEventTooLarge, ReasonTooManyErrors,
	}
}

// SkipReasons are the reasons of this package that are counted only, because nothing was
// lost.
func SkipReasons() []Reason {
	return []Reason{ReasonTombstone, ReasonEmpty, ReasonS3Notification, ReasonDigest, ReasonControlMessage}
}
