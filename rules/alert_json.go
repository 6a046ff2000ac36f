package rules

import (
	"bytes"
	"cmp"
	"strconv"
	"time"

	"trailhound/rules/cloudtrail"
	"trailhound/state"
)

// The payload is written by hand: in a fixed order, without reflection, and
// without encoding/json's escapes of <, > and &.

// Members that stand in the place of the event when it is left out.
const (
	omittedTooLarge = `,"event_omitted":"too_large"}`
	omittedTooDeep  = `,"event_omitted":"too_deep"}`
	omittedAbsent   = `,"event_omitted":"absent"}` // an event made in memory, without JSON
)

// appendBody appends the payload up to the event.
func (a *alertDraft) appendBody(dst []byte) []byte {
	ev, info := a.event, &a.rule.info
	dst = append(dst, `{"schema":"`+AlertSchema+`"`...)
	dst = appendMember(dst, "id", a.id)
	dst = appendMember(dst, "rule_id", info.ID)
	dst = appendMember(dst, "severity", string(info.Severity))
	dst = appendMember(dst, "title", title(cmp.Or(a.finding.Title, info.Title)))
	dst = appendMember(dst, "key", a.key)
	dst = appendMember(dst, "dedup", a.dedup)
	dst = strconv.AppendInt(appendName(dst, "suppressed"), a.held, 10)
	dst = appendMember(dst, "event_id", ev.ID)
	dst = appendTime(appendName(dst, "event_time"), ev.Time)
	dst = appendMember(dst, "principal", ev.Principal())
	dst = appendMember(dst, "source_ip", ev.SourceIP)
	dst = appendMember(dst, "account", ev.Account)
	dst = appendMember(dst, "region", ev.Region)
	dst = appendMember(dst, "event_name", cloudtrail.Clip(ev.Name, mostOfEvent))
	dst = appendMember(dst, "event_source", cloudtrail.Clip(ev.Source, mostOfEvent))
	dst = appendMember(dst, "error_code", cloudtrail.Clip(ev.ErrorCode, mostOfEvent))
	dst = appendMember(dst, "user_agent", cloudtrail.Clip(a.userAgent(), mostOfEvent))
	dst = appendMember(dst, "access_key_id", cloudtrail.Clip(a.accessKeyID(), mostOfEvent))
	dst = append(appendName(dst, "techniques"), a.rule.techniques...)
	dst = append(appendName(dst, "parameters"), a.rule.parameters...)
	dst = a.appendContext(appendName(dst, "context"))
	dst = a.appendEvidence(appendName(dst, "evidence"))
	dst = append(appendName(dst, "source"), '{')
	return append(appendPosition(dst, ev.At), '}')
}

// mostOfEvent is the most bytes of a member that is copied from the event: the alert must
// have room for it when the event is left out. CloudTrail cuts userAgent at 1 KiB and
// errorCode at 1 KB.
const mostOfEvent = 1 << 10

func (a *alertDraft) userAgent() string {
	s, _ := a.event.Lookup("userAgent")
	return s
}

// accessKeyID is the access key to be revoked.
func (a *alertDraft) accessKeyID() string {
	s, _ := a.event.Lookup("userIdentity", "accessKeyId")
	return s
}

// mostAlertDepth is how deep an event in an alert may nest. The depths at which JSON
// readers give up differ: jq's is 256, Python's about 1,000, Go's 10,000. An event must not
// be able to hide its own alert from them; those of CloudTrail do not come near it.
const mostAlertDepth = 200

// appendEvent appends the event and ends the payload.
func (a *alertDraft) appendEvent(dst []byte) []byte {
	if len(a.event.Raw) == 0 {
		return append(dst, omittedAbsent...)
	}
	if deeper(a.event.Raw, mostAlertDepth) {
		return append(dst, omittedTooDeep...)
	}
	return append(a.event.AppendCompact(appendName(dst, "event")), '}')
}

// deeper tells whether valid JSON nests deeper than most.
func deeper(raw []byte, most int) bool {
	if bytes.Count(raw, []byte{'{'})+bytes.Count(raw, []byte{'['}) <= most {
		return false // there are not even as many brackets, those in strings among them
	}
	depth, quoted := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '"':
			quoted = !quoted
		case quoted:
			if c == '\\' {
				i++ // the escaped byte does not end the string
			}
		case c == '{', c == '[':
			if depth++; depth > most {
				return true
			}
		case c == '}', c == ']':
			depth--
		}
	}
	return false
}

func (a *alertDraft) appendContext(dst []byte) []byte {
	dst = append(dst, '{')
	for i, d := range a.finding.Context {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendString(dst, d.Name), ':')
		if span, ok := d.Value.(time.Duration); ok {
			dst = appendSeconds(append(appendValue(dst, span), ','), d.Name, span)
		} else if list, ok := d.Value.([]string); ok && a.bare {
			dst = appendStrings(dst, list[:0])
		} else {
			dst = appendValue(dst, d.Value)
		}
	}
	return append(dst, '}')
}

func (a *alertDraft) appendEvidence(dst []byte) []byte {
	dst = strconv.AppendInt(append(dst, `{"total":`...), a.counted, 10)
	dst = append(dst, `,"events":[`...)
	for i, ref := range a.refs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendRef(dst, ref)
	}
	return append(dst, `]}`...)
}

func appendRef(dst []byte, r state.Ref) []byte {
	dst = appendString(append(dst, `{"event_id":`...), r.ID)
	dst = appendTime(append(dst, `,"event_time":`...), r.Time)
	dst = append(dst, ',')
	return append(appendPosition(dst, r.Source), '}')
}

func appendPosition(dst []byte, s state.Source) []byte {
	dst = appendString(append(dst, `"topic":`...), s.Topic)
	dst = strconv.AppendInt(append(dst, `,"partition":`...), int64(s.Partition), 10)
	dst = strconv.AppendInt(append(dst, `,"offset":`...), s.Offset, 10)
	return strconv.AppendInt(append(dst, `,"index":`...), int64(s.Index), 10)
}

// encode appends the payload, reduced as the Alert type says if it would have
// more than room bytes. It reports whether it has room.
func (a *alertDraft) encode(dst []byte, room int) ([]byte, bool) {
	start := len(dst)
	dst = a.appendBody(dst)
	body := len(dst)
	dst = a.appendEvent(dst)
	if len(dst)-start <= room {
		return dst, true
	}
	dst = append(dst[:body], omittedTooLarge...)
	if over := len(dst) - start - room; over > 0 {
		a.dropEvidence(over)
		dst = append(a.appendBody(dst[:start]), omittedTooLarge...)
	}
	if len(dst)-start > room {
		a.bare = true
		dst = append(a.appendBody(dst[:start]), omittedTooLarge...)
	}
	return dst, len(dst)-start <= room
}

// dropEvidence leaves out the oldest events until over bytes are saved, or
// none is left.
func (a *alertDraft) dropEvidence(over int) {
	var scratch []byte
	for len(a.refs) > 0 && over > 0 {
		scratch = appendRef(scratch[:0], a.refs[0])
		over -= len(scratch) + len(",")
		a.refs = a.refs[1:]
	}
}
