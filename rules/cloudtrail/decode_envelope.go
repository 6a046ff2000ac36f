package cloudtrail

import (
	"bytes"
	"fmt"
	"strings"

	"trailhound/rules/cloudtrail/internal/jsonscan"
)

// value reads the value b[i:end], which the scanner has just passed.
func (d *Decoder) value(b []byte, i, end, depth int) bool {
	switch b[i] {
	case '{':
		if d.isEvent() {
			return d.read(b, i, end)
		}
		return d.envelope(b, depth)
	case '[':
		return d.each(b[i:end], depth, (*Decoder).value)
	case '"':
		return d.unquote(b[i:end], depth)
	}
	return d.hold(ReasonUnknownShape, "a number or a literal is no event")
}

// envelope reads the object that the scanner has just passed and that is no
// event itself.
func (d *Decoder) envelope(b []byte, depth int) bool {
	d.text = d.text[:0]
	if !d.reserve(b, len(b)) {
		return d.tooLargeToHold()
	}
	if records := d.whole(b, fieldRecords, '['); records != nil {
		return d.each(records, depth, (*Decoder).value)
	}
	if events := d.whole(b, fieldLookupEvents, '['); events != nil {
		return d.each(events, depth, (*Decoder).value)
	}
	if d.has(fieldLookupEvent) {
		// One of the Events of LookupEvents, as the AWS CLI prints them:
		// https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_Event.html.
		return d.inside(b, fieldLookupEvent, depth)
	}
	if d.has(fieldDetailType) && d.has(fieldDetail) {
		return d.detail(b, depth)
	}
	if d.has(fieldMessageType) {
		return d.logs(b, depth)
	}
	if d.has(fieldDigestStart) {
		return d.hold(ReasonDigest, "a digest file lists log files and holds no events")
	}
	if d.has(fieldS3Key) {
		return d.hold(ReasonS3Notification, "the notification points at files in S3 and holds no events")
	}
	return d.message(b, depth)
}

// detail reads an EventBridge event. PutEvents takes any detail and detail-type from any
// account that may write to the bus, but no source that begins with aws.:
// https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEventsRequestEntry.html.
// So the source alone identifies the sender: an event in a detail of another source is
// refused, with any detail-type. A pipeline may leave the source out; CloudTrail's own
// events have one.
func (d *Decoder) detail(b []byte, depth int) bool {
	detail := d.whole(b, fieldDetail, '{')
	if detail == nil {
		return d.hold(ReasonUnknownShape, "the detail of the EventBridge event is not an object")
	}
	kind, source := d.string(b, fieldDetailType), d.string(b, fieldBusSource)
	d.scan.Value(detail, 0, true)
	switch {
	case !d.isEvent() && (source == "" || source == "aws.s3") && isObjectEvent(detail):
		return d.hold(ReasonS3Notification, "an event notification of S3 holds no CloudTrail events")
	case !d.isEvent():
		return d.hold(ReasonUnknownShape, fmt.Sprintf("the detail of the EventBridge event %q is no CloudTrail event", Clip(kind, quoted)))
	case source != "" && !strings.HasPrefix(source, "aws."):
		return d.hold(ReasonForeignSource, fmt.Sprintf("the EventBridge event %q has source %q; AWS's own begin with aws., so CloudTrail did not send it", Clip(kind, quoted), Clip(source, quoted)))
	}
	return d.read(detail, 0, len(detail))
}

// isObjectEvent reports whether a detail is that of an event notification of S3, such as
// Object Created: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html.
func isObjectEvent(detail []byte) bool {
	bucket, _ := lookup(detail, "bucket", "name")
	key, _ := lookup(detail, "object", "key")
	return bucket != "" && key != ""
}

// logs reads a CloudWatch Logs subscription message.
func (d *Decoder) logs(b []byte, depth int) bool {
	switch kind := d.string(b, fieldMessageType); kind {
	case "CONTROL_MESSAGE":
		return d.hold(ReasonControlMessage, "CloudWatch Logs checks whether the destination can be reached")
	case "DATA_MESSAGE":
	default:
		return d.hold(ReasonUnknownShape, fmt.Sprintf("unknown messageType %q of a CloudWatch Logs subscription", Clip(kind, quoted)))
	}
	events := d.whole(b, fieldLogEvents, '[')
	if events == nil {
		return d.hold(ReasonUnknownShape, "a DATA_MESSAGE of CloudWatch Logs without logEvents")
	}
	return d.each(events, depth, (*Decoder).logEvent)
}

// logEvent reads one of the logEvents of a subscription message.
func (d *Decoder) logEvent(b []byte, i, end, depth int) bool {
	if b[i] == '{' && d.has(fieldLogMessage) {
		return d.inside(b, fieldLogMessage, depth)
	}
	return d.hold(ReasonUnknownShape, "an element of logEvents without a message")
}

// message reads a message of SNS or SQS, bare or as a Lambda function gets it.
func (d *Decoder) message(b []byte, depth int) bool {
	switch kind := d.string(b, fieldNotificationType); {
	case kind == "Notification" && d.has(fieldMessage):
		if bytes.HasPrefix(d.whole(b, fieldMessage, '"'), []byte(`"CloudTrail validation message`)) {
			return d.hold(ReasonControlMessage, "CloudTrail checks whether the SNS topic can be reached")
		}
		return d.inside(b, fieldMessage, depth)
	case kind == "SubscriptionConfirmation" || kind == "UnsubscribeConfirmation":
		return d.hold(ReasonControlMessage, "SNS asks to confirm a subscription")
	case d.has(fieldSNS):
		return d.inside(b, fieldSNS, depth)
	case d.has(fieldBody) && d.string(b, fieldSource) == "aws:sqs":
		return d.inside(b, fieldBody, depth)
	case d.string(b, fieldTestEvent) == "s3:TestEvent":
		return d.hold(ReasonControlMessage, "S3 checks whether the destination can be reached")
	}
	return d.hold(ReasonUnknownShape, "an object that is neither a CloudTrail event nor an envelope of them")
}

// inside reads the value of a member of the object just scanned.
func (d *Decoder) inside(b []byte, f field, depth int) bool {
	if depth == maxEnvelopes {
		return d.tooManyEnvelopes()
	}
	s := d.scan.Fields[f]
	b = b[s.Start:s.End]
	if b[0] == '"' {
		return d.unquote(b, depth)
	}
	d.scan.Value(b, 0, true)
	return d.value(b, 0, len(b), depth+1)
}

// each reads the elements of an array that has passed the scanner.
func (d *Decoder) each(b []byte, depth int, read func(d *Decoder, b []byte, i, end, depth int) bool) bool {
	if depth == maxEnvelopes {
		return d.tooManyEnvelopes()
	}
	i := jsonscan.Space(b, 1)
	if b[i] == ']' {
		return d.hold(ReasonEmpty, "an empty list of events")
	}
	for {
		end := d.scan.Value(b, i, true)
		if !read(d, b, i, end, depth+1) {
			return false
		}
		if i = jsonscan.Space(b, end); b[i] == ']' {
			return true
		}
		i = jsonscan.Space(b, i+1)
	}
}

func (d *Decoder) tooManyEnvelopes() bool {
	return d.hold(ReasonTooDeep, fmt.Sprintf("more than %d envelopes in one another", maxEnvelopes))
}
