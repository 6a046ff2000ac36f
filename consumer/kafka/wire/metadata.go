package wire

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"strconv"
	"time"

	"trailhound/consumer/kafka/internal/primitive"
)

// TopicMetadata is a broker's description of a topic.
type TopicMetadata struct {
	Name       string
	ID         [16]byte // differs when a topic is deleted and made again under its name (KIP-516)
	Internal   bool
	Partitions []PartitionMetadata // as the broker lists them
	Err        error               // a kafka.Error, such as kafka.UnknownTopicOrPartition; nil: none

	operations int32 // see Allowed; math.MinInt32: the broker does not tell
}

// LeaderEpoch returns the current leader epoch of a partition; -1: not known.
func (m TopicMetadata) LeaderEpoch(partition int32) int32 {
	for _, p := range m.Partitions {
		if p.Index == partition {
			return p.LeaderEpoch
		}
	}
	return noEpoch
}

// PartitionMetadata is a broker's description of a partition.
type PartitionMetadata struct {
	Index       int32
	Leader      int32 // broker id; -1: none
	LeaderEpoch int32
	Replicas    []int32
	ISR         []int32
	Offline     []int32
	Err         error // a kafka.Error, such as kafka.LeaderNotAvailable; nil: none
}

// Topics asks a broker, not the cache, about topics; about all of them if none is
// named. A topic that does not exist is in the result, with its Err, and is not
// created.
func (c *Client) Topics(ctx context.Context, names ...string) (map[string]TopicMetadata, error) {
	return c.topics(ctx, false, names)
}

// topics is Topics, and can ask for the operations allowed on each topic.
func (c *Client) topics(ctx context.Context, operations bool, names []string) (map[string]TopicMetadata, error) {
	for {
		var topics map[string]TopicMetadata
		var throttled time.Duration
		k := &call{
			api:     apiMetadata,
			request: "ask for topic metadata",
			write:   func(b []byte, _ int16) []byte { return appendTopics(b, operations, names) },
			read: func(r *primitive.Reader, _ int16) {
				var brokers map[string]int32
				throttled, brokers, topics = readTopics(r)
				c.noteBrokers(brokers)
			},
		}
		if err := c.do(ctx, k, 0); err != nil {
			return nil, err
		}
		if throttled == 0 || len(topics) > 0 || len(names) == 0 {
			return topics, nil
		}
		if err := waitOut(ctx, throttled); err != nil {
			return nil, fmt.Errorf("ask for topic metadata: the broker throttles this client: %w", err)
		}
	}
}

// appendTopics writes the body of Metadata v10, the first version with topic ids.
func appendTopics(b []byte, operations bool, names []string) []byte {
	if len(names) == 0 {
		b = append(b, 0) // null: all
	} else {
		b = binary.AppendUvarint(b, uint64(len(names))+1)
	}
	for _, name := range names {
		b = append(b, make([]byte, 16)...) // id: by name
		b = appendCompact(b, name)
		b = append(b, 0) // no tagged fields
	}
	b = appendBool(b, false)      // create missing topics
	b = appendBool(b, false)      // list the operations allowed on the cluster
	b = appendBool(b, operations) // and on topics
	return append(b, 0)           // no tagged fields
}

func readTopics(r *primitive.Reader) (throttled time.Duration, brokers map[string]int32, topics map[string]TopicMetadata) {
	throttled, brokers = readThrottle(r), make(map[string]int32)
	for range r.CompactArray(11) {
		id, host, port := r.Int32(), r.CompactText(), r.Int32()
		brokers[net.JoinHostPort(host, strconv.Itoa(int(port)))] = id
		r.CompactText() // rack
		r.Tags()
	}
	r.CompactText() // cluster
	r.Int32()       // controller
	n := r.CompactArray(26)
	topics = make(map[string]TopicMetadata, n)
	for range n {
		t := readTopic(r)
		topics[t.Name] = t
	}
	return throttled, brokers, topics
}

func readTopic(r *primitive.Reader) (t TopicMetadata) {
	code := r.Int16()
	t.Name = r.CompactText()
	t.Err = Denied(codeError(code), Right{"Describe", "topic", t.Name})
	t.ID = r.UUID()
	t.Internal = r.Bool()
	t.Partitions = make([]PartitionMetadata, r.CompactArray(18))
	for i := range t.Partitions {
		p := &t.Partitions[i]
		p.Err = codeError(r.Int16())
		p.Index, p.Leader, p.LeaderEpoch = r.Int32(), r.Int32(), r.Int32()
		p.Replicas, p.ISR, p.Offline = r.CompactInt32s(), r.CompactInt32s(), r.CompactInt32s()
		r.Tags()
	}
	t.operations = r.Int32()
	r.Tags()
	return t
}
