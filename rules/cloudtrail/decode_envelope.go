package cloudtrail

import (
	"bytes"
	"strings"
)

// contents says which kind of content an envelope has.
type contents uint8

const (
	noContent contents = iota // there is a problem
	anEvent                   // just scanned
	aValue                    // any one, or a string with values
	aList                     // an array of values
	logEvents                 // an array of messages of CloudWatch Logs
)

// content returns the content of the object that the scanner has just passed and that is no
// event itself.
func (d *Decoder) content(b []byte) (contents, []byte, *DecodeError) {
	d.text = d.text[:0]
	if !d.reserve(b, len(b)) {
		return noContent, nil, d.tooLargeToHold()
	}
	if records := d.whole(b, fieldRecords, '['); records != nil {
		return aList, records, nil
	}
	if events := d.whole(b, fieldLookupEvents, '['); events != nil {
		return aList, events, nil
	}
	if d.has(fieldLookupEvent) {
		// One of the Events of LookupEvents, as the AWS CLI prints them:
		// https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_Event.html.
		return aValue, d.whole(b, fieldLookupEvent, 0), nil
	}
	if d.has(fieldDetailType) && d.has(fieldDetail) {
		return d.detail(b)
	}
	if d.has(fieldMessageType) {
		return d.logs(b)
	}
	if d.has(fieldDigestStart) {
		return noContent, nil, problem(ReasonDigest, "a digest file lists log files and holds no events")
	}
	if d.has(fieldS3Key) {
		return noContent, nil, problem(ReasonS3Notification, "the notification points at files in S3 and holds no events")
	}
	return d.message(b)
}

// detail reads an EventBridge event. PutEvents takes any detail and detail-type from any
// account that may write to the bus, but no source that begins with aws.:
// https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEventsRequestEntry.html.
// So the source alone identifies the sender: an event in a detail of another source is
// refused, with any detail-type. A pipeline may leave the source out; CloudTrail's own
// events have one.
func (d *Decoder) detail(b []byte) (contents, []byte, *DecodeError) {
	detail := d.whole(b, fieldDetail, '{')
	if detail == nil {
		return noContent, nil, problem(ReasonUnknownShape, "the detail of the EventBridge event is not an object")
	}
	kind, source := d.string(b, fieldDetailType), d.string(b, fieldBusSource)
	d.scan.Value(detail, 0, true)
	switch {
	case !d.isEvent() && (source == "" || source == "aws.s3") && isObjectEvent(detail):
		return noContent, nil, s3Notification()
	case !d.isEvent():
		return noContent, nil, problem(ReasonUnknownShape, "the detail of the EventBridge event %q is no CloudTrail event", Clip(kind, quoted))
	case source != "" && !strings.HasPrefix(source, "aws."):
		return noContent, nil, problem(ReasonForeignSource, "the EventBridge event %q has source %q; AWS's own begin with aws., so CloudTrail did not send it", Clip(kind, quoted), Clip(source, quoted))
	}
	return anEvent, detail, nil
}

// isObjectEvent reports whether a detail is that of an event notification of S3, such as
// Object Created: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html.
func isObjectEvent(detail []byte) bool {
	bucket, _ := lookup(detail, "bucket", "name")
	key, _ := lookup(detail, "object", "key")
	return bucket != "" && key != ""
}

// logs reads a CloudWatch Logs subscription message.
func (d *Decoder) logs(b []byte) (contents, []byte, *DecodeError) {
	switch kind := d.string(b, fieldMessageType); kind {
	case "CONTROL_MESSAGE":
		return noContent, nil, problem(ReasonControlMessage, "CloudWatch Logs checks whether the destination can be reached")
	case "DATA_MESSAGE":
	default:
		return noContent, nil, problem(ReasonUnknownShape, "unknown messageType %q of a CloudWatch Logs subscription", Clip(kind, quoted))
	}
	events := d.whole(b, fieldLogEvents, '[')
	if events == nil {
		return noContent, nil, problem(ReasonUnknownShape, "a DATA_MESSAGE of CloudWatch Logs without logEvents")
	}
	return logEvents, events, nil
}

// message reads a message of SNS or SQS, bare or as a Lambda function gets it.
func (d *Decoder) message(b []byte) (contents, []byte, *DecodeError) {
	switch kind := d.string(b, fieldNotificationType); {
	case kind == "Notification" && d.has(fieldMessage):
		if bytes.HasPrefix(d.whole(b, fieldMessage, '"'), []byte(`"CloudTrail validation message`)) {
			return noContent, nil, problem(ReasonControlMessage, "CloudTrail checks whether the SNS topic can be reached")
		}
		return aValue, d.whole(b, fieldMessage, 0), nil
	case kind == "SubscriptionConfirmation" || kind == "UnsubscribeConfirmation":
		return noContent, nil, problem(ReasonControlMessage, "SNS asks to confirm a subscription")
	case d.has(fieldSNS):
		return aValue, d.whole(b, fieldSNS, 0), nil
	case d.has(fieldBody) && d.string(b, fieldSource) == "aws:sqs":
		return aValue, d.whole(b, fieldBody, 0), nil
	case d.string(b, fieldTestEvent) == "s3:TestEvent":
		return noContent, nil, problem(ReasonControlMessage, "S3 checks whether the destination can be reached")
	}
	return noContent, nil, problem(ReasonUnknownShape, "an object that is neither a CloudTrail event nor an envelope of them")
}

func s3Notification() *DecodeError {
	return problem(ReasonS3Notification, "an event notification of S3 holds no CloudTrail events")
}

func tooManyEnvelopes() *DecodeError {
	return problem(ReasonTooDeep, "more than %d envelopes in one another", maxEnvelopes)
}
