package consumer

import (
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"trailhound/consumer/kafka/group"
)

// inputMetadata is the metadata that an instance commits with the offset of an input partition.
type inputMetadata struct {
	topicID [16]byte
	clock   int64 // event time of the acknowledged records, Unix nanoseconds, to the millisecond; noNewest: not known
	backlog bool
	waiting bool
	steps   uint8 // as those of inputTime, a digit
}

// encode writes the topic's id and, behind it, the partition's event time and flags:
//
//	ID[;CLOCK[;FLAGS]]    CLOCK in Unix milliseconds or empty, FLAGS of b (backlog), w (waiting) and a digit (steps)
func (m inputMetadata) encode() string {
	s := hex.EncodeToString(m.topicID[:])
	if m.clock == noNewest && !m.backlog && !m.waiting && m.steps == 0 {
		return s
	}
	s += ";"
	if m.clock != noNewest {
		s += strconv.FormatInt(m.clock/int64(time.Millisecond), 10)
	}
	s += ";"
	if m.backlog {
		s += "b"
	}
	if m.waiting {
		s += "w"
	}
	if m.steps > 0 {
		s += strconv.Itoa(int(m.steps % mostSteps))
	}
	return s
}

// decodeInputMetadata reads the metadata that encode has written; not ok: another tool
// wrote it.
func decodeInputMetadata(s string) (m inputMetadata, ok bool) {
	m.clock = noNewest
	parts := strings.Split(s, ";")
	id, err := hex.DecodeString(parts[0])
	if err != nil || len(id) != len(m.topicID) {
		return m, false
	}
	copy(m.topicID[:], id)
	if len(parts) > 1 && parts[1] != "" {
		if ms, err := strconv.ParseInt(parts[1], 10, 64); err == nil {
			m.clock = time.UnixMilli(ms).UnixNano()
		}
	}
	if len(parts) > 2 {
		m.backlog, m.waiting = strings.Contains(parts[2], "b"), strings.Contains(parts[2], "w")
		if i := strings.IndexAny(parts[2], "123456789"); i >= 0 {
			m.steps = parts[2][i] - '0'
		}
	}
	return m, true
}

// ofTopic tells whether an offset was committed for the topic with this id.
func ofTopic(o group.Offset, topicID [16]byte) bool {
	m, ok := decodeInputMetadata(o.Metadata)
	return ok && m.topicID == topicID
}

// inputOffset is the offset that the group commits for an input partition.
func inputOffset(at logPosition, m inputMetadata) group.Offset {
	return group.Offset{At: at.offset, LeaderEpoch: at.epoch, Metadata: m.encode()}
}
