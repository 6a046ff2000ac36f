package rules

import (
	"bytes"
	"cmp"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"trailhound/config/duration"
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

// appendName appends a comma and the name of the next member. The name must
// need no escapes.
func appendName(dst []byte, name string) []byte {
	dst = append(dst, `,"`...)
	dst = append(dst, name...)
	return append(dst, `":`...)
}

func appendMember(dst []byte, name, value string) []byte {
	return appendString(appendName(dst, name), value)
}

// appendTime appends RFC 3339 in UTC, with a fraction only if there is one.
func appendTime(dst []byte, t time.Time) []byte {
	dst = append(dst, '"')
	dst = t.UTC().AppendFormat(dst, time.RFC3339Nano)
	return append(dst, '"')
}

func appendStrings(dst []byte, list []string) []byte {
	dst = append(dst, '[')
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, s)
	}
	return append(dst, ']')
}

func appendValue(dst []byte, value any) []byte {
	switch v := value.(type) {
	case string:
		return appendString(dst, v)
	case bool:
		return strconv.AppendBool(dst, v)
	case int:
		return strconv.AppendInt(dst, int64(v), 10)
	case int64:
		return strconv.AppendInt(dst, v, 10)
	case time.Time:
		return appendTime(dst, v)
	case time.Duration:
		return appendString(dst, duration.Format(v))
	case []string:
		return appendStrings(dst, v)
	}
	return appendString(dst, fmt.Sprint(value))
}

// appendString appends s as a JSON string. Bytes that are not UTF-8 become U+FFFD; only
// quotes, backslashes and control characters are escaped.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	done := 0 // s[:done] has been appended
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				dst = append(append(dst, s[done:i]...), "\uFFFD"...)
				done = i + 1
			}
			i += size
			continue
		}
		if c < ' ' || c == '"' || c == '\\' {
			dst = appendEscaped(append(dst, s[done:i]...), c)
			done = i + 1
		}
		i++
	}
	return append(append(dst, s[done:]...), '"')
}

func appendEscaped(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return fmt.Appendf(dst, `\u%04x`, c)
}
