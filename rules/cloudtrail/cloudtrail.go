// Package cloudtrail reads CloudTrail events out of records and files, in any of the
// envelopes in which they come.
//
// Its types are few: an [Event] is one event as rules see it, with its [Identity]; a
// [Decoder] yields the events of a record, in a list, in gzip, in a message of EventBridge,
// CloudWatch Logs, SNS or SQS, or bare; a [Splitter] cuts a file into records; a
// [DecodeError] says why a record or an event is refused, and its [Reason] says so in one
// word.
//
// Its one guarantee: bytes of any kind cost their record alone, and bounded memory and time
// ([Decoder].MaxUnpacked, MaxHeld, Scratch). The values read are those that encoding/json
// would read, the last one of members of the same name.
//
// Calls run down: decode.go goes through a record and notes its errors; below it decode_*.go
// read one kind of input each, and return its content or an error; source*.go find the
// values in a stream; event_*.go answer questions about an event; tuning.go has the constants.
// Package internal/jsonscan validates one value and notes where its members lie.
package cloudtrail
