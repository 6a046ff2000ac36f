package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/segmentio/kafka-go/protocol"

	"trailhound/consumer/kafka/internal/primitive"
)

// mostThrottled bounds the wait of a throttled request before it is sent again. The broker
// names the rest of its quota window, which is some seconds unless configured otherwise
// (quota.window.num × quota.window.size.seconds).
const mostThrottled = time.Minute

// readThrottle reads throttle_time_ms. To a client that has used up its quota, a broker answers
// at once, a fetch with no partitions at all, and reads nothing more from the connection
// for that time (KIP-219).
func readThrottle(r *primitive.Reader) time.Duration {
	return min(max(time.Duration(r.Int32())*time.Millisecond, 0), mostThrottled)
}

// waitOut waits for as long as the broker throttles this client; its error is that of ctx.
func waitOut(ctx context.Context, throttled time.Duration) error {
	t := time.NewTimer(throttled)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// throttleTime is the place of throttle_time_ms in an API's answers: in front, but for
// Produce.
type throttleTime struct {
	since    int16 // first version that has it
	flexible int16 // first version with tagged fields in the head of answers (KIP-482)
}

// throttleTimes are of all requests that this package and kafka-go send. An API that is not
// here has none (SaslHandshake), or none in the versions that are spoken (ApiVersions).
var throttleTimes = map[protocol.ApiKey]throttleTime{
	protocol.Produce:                 {1, 9},
	protocol.Fetch:                   {1, 12},
	protocol.ListOffsets:             {2, 6},
	protocol.Metadata:                {3, 9},
	protocol.OffsetCommit:            {3, 8},
	protocol.OffsetFetch:             {3, 6},
	protocol.FindCoordinator:         {1, 3},
	protocol.JoinGroup:               {2, 6},
	protocol.Heartbeat:               {1, 4},
	protocol.LeaveGroup:              {1, 4},
	protocol.SyncGroup:               {1, 4},
	protocol.DescribeGroups:          {1, 5},
	protocol.ListGroups:              {1, 3},
	protocol.CreateTopics:            {2, 5},
	protocol.DeleteTopics:            {1, 4},
	protocol.DeleteRecords:           {0, 2},
	protocol.InitProducerId:          {0, 2},
	protocol.OffsetForLeaderEpoch:    {2, 4},
	protocol.AddPartitionsToTxn:      {0, 3},
	protocol.AddOffsetsToTxn:         {0, 3},
	protocol.EndTxn:                  {0, 3},
	protocol.TxnOffsetCommit:         {0, 3},
	protocol.DescribeConfigs:         {0, 4},
	protocol.AlterConfigs:            {0, 2},
	protocol.CreatePartitions:        {0, 2},
	protocol.DeleteGroups:            {0, 2},
	protocol.IncrementalAlterConfigs: {0, 1},
}

// throttleField finds throttle_time_ms in the body of an answer that passes in pieces.
type throttleField struct {
	last bool    // the field is at the end of the body, else in front
	skip int     // bytes in front of the field; -1: the answer has none
	seen int     // bytes of the body
	body [5]byte // its first bytes, or in [:4] its last ones
}

func (t *throttleField) begin(api protocol.ApiKey, version int16) {
	*t = throttleField{skip: -1}
	switch where, ok := throttleTimes[api]; {
	case !ok || version < where.since:
	case api == protocol.Produce && version >= where.flexible: // tagged fields come behind it
	case api == protocol.Produce:
		t.last, t.skip = true, 0
	case version >= where.flexible:
		t.skip = 1 // no tagged field is defined for the head of an answer
	default:
		t.skip = 0
	}
}

func (t *throttleField) add(b []byte) {
	switch {
	case t.skip < 0:
		return
	case t.last && len(b) >= 4:
		copy(t.body[:4], b[len(b)-4:])
	case t.last:
		copy(t.body[:4], t.body[len(b):4])
		copy(t.body[4-len(b):4], b)
	case t.seen < len(t.body):
		copy(t.body[t.seen:], b)
	}
	t.seen += len(b)
}

// value returns throttle_time_ms of the answer, once it has passed.
func (t *throttleField) value() time.Duration {
	if t.skip < 0 || t.seen < t.skip+4 || t.skip == 1 && t.body[0] != 0 {
		return 0
	}
	ms := int32(binary.BigEndian.Uint32(t.body[t.skip:]))
	return min(max(time.Duration(ms)*time.Millisecond, 0), mostThrottled)
}

// throttledFor returns the time for which a request held back by a broker's quota has to
// wait before it is sent again; 0: it failed for another reason.
func throttledFor(err error) time.Duration {
	if t, ok := errors.AsType[*throttledError](err); ok {
		return t.left
	}
	return 0
}
