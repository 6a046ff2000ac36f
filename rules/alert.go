package rules

import (
	"crypto/sha1"
	"encoding/hex"
	"math"
	"strconv"
	"time"

	"trailhound/state"
)

// AlertSchema names the format of an alert's payload. Its JSON Schema is
// deploy/alert.schema.json, and deploy/alert.open.schema.json that of all releases
// under the name. Readers must expect new members under the same
// name; a member that goes, or changes its meaning, makes a new one.
const AlertSchema = "trailhound.alert.v1"

// Alert is a [Finding] with the parts that the engine adds, encoded for the alerts topic.
//
// Payload is a pure function of the events, the configuration and the size that the alerts
// topic takes. When payload and dedup string together would exceed Limits.MaxAlertBytes, or
// the limit of [Engine.LimitAlerts] if that is lower, parts of the payload are left out in
// this order, each step only when the one before was not enough:
//
//  1. the event; "event_omitted":"too_large" stands in its place
//  2. events of the evidence, the oldest first, as many as needed;
//     evidence.total stays the true number
//  3. the members of every list in the context; totals beside them stay
//
// An event that nests deeper than 200 is left out too ("event_omitted":"too_deep"):
// many readers of JSON would refuse the whole alert.
//
// An alert that is still too large is rejected with [ReasonAlertTooLarge].
type Alert struct {
	ID       string // UUID (version 5) of rule, key and eventID; of the source position where there is no eventID
	RuleID   string // also in the payload, as the following two
	Severity string
	Dedup    string    // the record's key: rule:key, or rule:key:more
	Time     time.Time // of the event that completed the finding
	Payload  []byte    // one JSON object, one line, without a newline at its end
}

// alertNamespace is the name space of alert IDs (RFC 9562, section 5.5):
// 5e0b3c1a-8f4d-4b62-9c57-2e91d670a413. It is part of the format: changing it
// would give every alert another ID.
var alertNamespace = [16]byte{0x5e, 0x0b, 0x3c, 0x1a, 0x8f, 0x4d, 0x4b, 0x62, 0x9c, 0x57, 0x2e, 0x91, 0xd6, 0x70, 0xa4, 0x13}

// alertDraft holds the parts from which an alert is encoded.
type alertDraft struct {
	rule    *boundRule
	event   *Event
	key     string
	finding *Finding
	dedup   string
	id      string
	held    int64       // alerts suppressed since the last one
	counted int64       // events that the rule counted
	refs    []state.Ref // the newest of them, oldest first
	bare    bool        // lists in the context are emptied
}

// room is the size that a limit leaves for the payload.
func (a *alertDraft) room(limit int) int {
	if limit == 0 {
		return math.MaxInt
	}
	return limit - len(a.dedup)
}

// alertID is the UUID of rule, key and eventID with a zero byte between them.
// An event without an eventID is known by its position instead.
func alertID(rule, key string, ev *Event) string {
	name := make([]byte, 0, 256)
	name = append(name, alertNamespace[:]...)
	name = append(append(name, rule...), 0)
	name = append(append(name, key...), 0)
	if ev.ID != "" {
		name = append(name, ev.ID...)
	} else {
		name = append(append(name, ev.At.Topic...), 0)
		name = append(strconv.AppendInt(name, int64(ev.At.Partition), 10), 0)
		name = append(strconv.AppendInt(name, ev.At.Offset, 10), 0)
		name = strconv.AppendInt(name, int64(ev.At.Index), 10)
	}
	return uuidV5(sha1.Sum(name))
}

// uuidV5 formats the first 16 bytes of a hash as a UUID of version 5 (RFC 9562).
func uuidV5(sum [sha1.Size]byte) string {
	sum[6] = sum[6]&0x0f | 0x50
	sum[8] = sum[8]&0x3f | 0x80
	var s [36]byte
	hex.Encode(s[0:8], sum[0:4])
	hex.Encode(s[9:13], sum[4:6])
	hex.Encode(s[14:18], sum[6:8])
	hex.Encode(s[19:23], sum[8:10])
	hex.Encode(s[24:36], sum[10:16])
	s[8], s[13], s[18], s[23] = '-', '-', '-', '-'
	return string(s[:])
}
