package cloudtrail

import "trailhound/rules/cloudtrail/internal/jsonscan"

// field numbers the members that a scan notes.
type field = jsonscan.Field

const none = jsonscan.None

// Strings, noted without their quotes.
const (
	_ field = iota

	// Strings of an event.
	fieldID
	fieldSmallID
	fieldName
	fieldSource
	fieldRegion
	fieldSourceIP
	fieldErrorCode
	fieldErrorMessage
	fieldAccount
	fieldVersion
	fieldType
	fieldCategory
	fieldTime
	fieldTimestamp
	fieldSharedID
	fieldVPCEndpoint

	// Strings of userIdentity, in a row: members.Inside.
	fieldIdentityType
	fieldIdentityARN
	fieldPrincipalID
	fieldAccountID
	fieldInvokedBy
	fieldIssuerARN

	// Strings of envelopes.
	fieldDetailType
	fieldBusSource
	fieldMessageType
	fieldDigestStart
	fieldNotificationType
	fieldTestEvent

	_ = uint(jsonscan.FirstWhole - 1 - iota) // they are not more
)

// Strings, objects and arrays, noted with their quotes or brackets.
const (
	fieldRequestParameters field = jsonscan.FirstWhole + iota
	fieldAddendum
	fieldRecords
	fieldDetail
	fieldLookupEvents
	fieldLookupEvent
	fieldLogEvents
	fieldLogMessage
	fieldMessage
	fieldBody
	fieldSNS
	fieldS3
	fieldS3Key

	// The string in the place of userIdentity, or of an object in it that is looked into.
	fieldIdentityText

	_ = uint(jsonscan.NumFields - 1 - jsonscan.FirstWhole - iota)
)

// Objects to look into, one in the other.
const (
	fieldIdentity field = jsonscan.FirstObject + iota
	fieldSession
	fieldIssuer
)

var members = jsonscan.Members{
	Match: match,
	Inside: [jsonscan.MaxObjects]jsonscan.FieldRange{
		fieldIdentity - jsonscan.FirstObject: {First: uint8(fieldIdentityType), N: uint8(fieldIssuerARN - fieldIdentityType + 1)},
		fieldSession - jsonscan.FirstObject:  {First: uint8(fieldIssuerARN), N: 1},
		fieldIssuer - jsonscan.FirstObject:   {First: uint8(fieldIssuerARN), N: 1},
	},
	Text: fieldIdentityText,
}

// match returns the field of a name in the object at that level.
func match(level int, name []byte) field {
	switch level {
	case 1:
		return matchTop(name)
	case 2:
		return matchIdentity(name)
	case 3:
		if string(name) == "sessionIssuer" {
			return fieldIssuer
		}
	default:
		if string(name) == "arn" {
			return fieldIssuerARN
		}
	}
	return none
}

// matchTop knows the members of events and of envelopes. One table serves both, since the
// kind of an object shows only at its end.
func matchTop(key []byte) field {
	switch string(key) {
	case "eventVersion":
		return fieldVersion
	case "userIdentity":
		return fieldIdentity
	case "eventTime":
		return fieldTime
	case "eventSource":
		return fieldSource
	case "eventName":
		return fieldName
	case "awsRegion":
		return fieldRegion
	case "sourceIPAddress":
		return fieldSourceIP
	case "errorCode":
		return fieldErrorCode
	case "errorMessage":
		return fieldErrorMessage
	case "requestParameters":
		return fieldRequestParameters
	case "eventID":
		return fieldID
	case "eventId":
		return fieldSmallID
	case "eventType":
		return fieldType
	case "recipientAccountId":
		return fieldAccount
	case "eventCategory":
		return fieldCategory
	case "@timestamp":
		return fieldTimestamp
	case "sharedEventID":
		return fieldSharedID
	case "vpcEndpointId":
		return fieldVPCEndpoint
	case "addendum":
		return fieldAddendum
	}
	return matchEnvelope(key)
}

func matchEnvelope(key []byte) field {
	switch string(key) {
	case "Records":
		return fieldRecords
	case "detail-type":
		return fieldDetailType
	case "detail":
		return fieldDetail
	case "source":
		return fieldBusSource
	case "Events":
		return fieldLookupEvents
	case "CloudTrailEvent":
		return fieldLookupEvent
	case "messageType":
		return fieldMessageType
	case "logEvents":
		return fieldLogEvents
	case "message":
		return fieldLogMessage
	case "digestStartTime":
		return fieldDigestStart
	case "Type":
		return fieldNotificationType
	case "Message":
		return fieldMessage
	case "Sns":
		return fieldSNS
	case "body":
		return fieldBody
	case "s3":
		return fieldS3
	case "s3ObjectKey":
		return fieldS3Key
	case "Event":
		return fieldTestEvent
	}
	return none
}

func matchIdentity(key []byte) field {
	switch string(key) {
	case "type":
		return fieldIdentityType
	case "arn":
		return fieldIdentityARN
	case "principalId":
		return fieldPrincipalID
	case "accountId":
		return fieldAccountID
	case "invokedBy":
		return fieldInvokedBy
	case "sessionContext":
		return fieldSession
	}
	return none
}
