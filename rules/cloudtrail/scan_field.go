package cloudtrail

// field numbers the members that a scan notes. Strings come first, then values
// of any kind, then the objects whose own members are noted.
type field uint8

const (
	none field = iota

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

	// Strings of userIdentity.
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

	// Strings, objects and arrays, noted with their quotes or brackets.
	fieldRequestParameters
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

	// userIdentity, or an object in it that is looked into, where it is a string.
	fieldIdentityText
	numFields

	// Objects to look into, one in the other; not noted themselves.
	fieldIdentity = iota - 1
	fieldSession
	fieldIssuer

	firstWhole = fieldRequestParameters
)

// Depth of the objects that are looked into.
const (
	levelTop      = 1
	levelIdentity = 2
	levelSession  = 3
)

// maxEscapedName is how long the raw form of a name may be that match knows: six bytes
// stand for a letter, and there are fewer than 32 in each.
const maxEscapedName = 6 * 32

// match returns which member key is of the object at that level. Any earlier
// member of the same name is forgotten: the last one counts, whatever it holds.
func (s *scanner) match(level int, key []byte) field {
	var f field
	switch level {
	case levelTop:
		f = matchTop(key)
	case levelIdentity:
		f = matchIdentity(key)
	case levelSession:
		if string(key) == "sessionIssuer" {
			f = fieldIssuer
		}
	default:
		if string(key) == "arn" {
			f = fieldIssuerARN
		}
	}
	s.forget(f)
	return f
}

// forget forgets what an earlier member of the same name held.
func (s *scanner) forget(f field) {
	switch {
	case f < numFields:
		s.fields[f] = span{}
	case f == fieldIdentity:
		clear(s.fields[fieldIdentityType : fieldIssuerARN+1])
		s.fields[fieldIdentityText] = span{}
	default:
		s.fields[fieldIssuerARN] = span{}
	}
}

// matchTop knows the members of events and of envelopes. One table serves both,
// since what an object is shows only at its end.
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
