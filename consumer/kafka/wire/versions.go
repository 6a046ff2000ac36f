package wire

import (
	"fmt"
	"net"

	"github.com/segmentio/kafka-go/protocol"

	"trailhound/consumer/kafka/internal/primitive"
)

// api is a request that this package writes itself, and the versions that it can write.
type api struct {
	key      protocol.ApiKey
	min, max int16
	flexible int16  // first version with tagged fields (KIP-482)
	since    string // first Kafka release with version min
}

// Versions are those that Kafka 2.8 to 4.x have in common, and where possible the last one
// without tagged fields; Fetch goes higher where the broker does. Produce stays below 12
// and EndTxn and AddPartitionsToTxn below 5 and 4 on purpose: from there on the broker adds
// partitions and raises epochs by itself (KIP-890, part 2).
var (
	apiProduce         = api{protocol.Produce, 7, 8, 9, "2.1"}
	apiFetch           = api{protocol.Fetch, 11, 13, 12, "2.3"} // from 13 on the topic goes by its id (KIP-516)
	apiMetadata        = api{protocol.Metadata, 10, 10, 9, "2.8"}
	apiFindCoordinator = api{protocol.FindCoordinator, 1, 2, 3, "0.11"}
	apiHeartbeat       = api{protocol.Heartbeat, 3, 3, 4, "2.3"}
	apiLeaveGroup      = api{protocol.LeaveGroup, 3, 3, 4, "2.4"}
	apiDeleteRecords   = api{protocol.DeleteRecords, 0, 1, 2, "0.11"}
	apiInitProducerID  = api{protocol.InitProducerId, 3, 4, 2, "2.5"}
	apiAddPartitions   = api{protocol.AddPartitionsToTxn, 0, 2, 3, "0.11"}
	apiEndTxn          = api{protocol.EndTxn, 0, 2, 3, "0.11"}

	apiOffsetForLeaderEpoch = api{protocol.OffsetForLeaderEpoch, 3, 3, 4, "2.3"}
)

type versionRange struct{ min, max int16 }

// apiVersions are the versions that one broker speaks, by API key.
type apiVersions map[int16]versionRange

// negotiate returns the highest version of a that both sides speak. A broker is asked once;
// its answer is forgotten when an exchange with it fails, for another release may have
// taken its address.
func (c *Client) negotiate(conn net.Conn, remote string, a api) (int16, error) {
	c.mu.Lock()
	speaks := c.versions[remote]
	c.mu.Unlock()
	if speaks == nil {
		var err error
		if speaks, err = c.askVersions(conn); err != nil {
			return 0, fmt.Errorf("ask broker %s for its API versions: %w", remote, err)
		}
		c.mu.Lock()
		if c.versions == nil {
			c.versions = make(map[string]apiVersions)
		}
		c.versions[remote] = speaks
		c.mu.Unlock()
	}
	return speaks.choose(remote, a)
}

func (v apiVersions) choose(remote string, a api) (int16, error) {
	has, ok := v[int16(a.key)]
	switch {
	case !ok:
		return 0, fmt.Errorf("%w: %s does not offer %s requests: Apache Kafka %s or newer is needed", ErrUnsupported, remote, a.key, a.since)
	case has.max < a.min:
		return 0, fmt.Errorf("%w: %s is too old: it speaks %s up to version %d, and version %d is needed (Apache Kafka %s or newer)", ErrUnsupported, remote, a.key, has.max, a.min, a.since)
	case has.min > a.max:
		return 0, fmt.Errorf("%w: %s is too new: it speaks %s from version %d on, and this build ends at version %d: upgrade trailhound", ErrUnsupported, remote, a.key, has.min, a.max)
	}
	return min(has.max, a.max), nil
}

// Supported returns an error that names the requests of this package that a broker does not
// offer in any version that it speaks, among the brokers that have been asked so far;
// nil: there are none.
func (c *Client) Supported() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for remote, speaks := range c.versions {
		for _, a := range transactional {
			if _, ok := speaks[int16(a.key)]; !ok {
				return &NoTransactionsError{Err: fmt.Errorf("%w: %s does not offer %s requests", ErrUnsupported, remote, a.key)}
			}
		}
		for _, a := range []api{apiProduce, apiFetch, apiMetadata, apiFindCoordinator, apiHeartbeat, apiLeaveGroup, apiDeleteRecords,
			apiInitProducerID, apiAddPartitions, apiEndTxn, apiOffsetForLeaderEpoch} {
			if _, err := speaks.choose(remote, a); err != nil {
				return err
			}
		}
	}
	return nil
}

// transactional are the requests of a transaction (KIP-98).
var transactional = []api{apiInitProducerID, apiAddPartitions, apiEndTxn}

func (c *Client) knowsVersions(remote string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.versions[remote] != nil
}

func (c *Client) forgetVersions(remote string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.versions, remote)
}

// askVersions sends ApiVersions v0, which every broker answers.
func (c *Client) askVersions(conn net.Conn) (apiVersions, error) {
	id := c.correlation.Add(1)
	if err := writeFrame(conn, appendHeader(nil, int16(protocol.ApiVersions), 0, id, c.Transport.ClientID)); err != nil {
		return nil, err
	}
	var buffer []byte
	body, err := receive(conn, &buffer, id)
	if err != nil {
		return nil, err
	}
	r := primitive.Reader{Rest: body}
	if code := r.Int16(); code != 0 {
		return nil, codeError(code)
	}
	n := r.Array(6)
	speaks := make(apiVersions, n)
	for range n {
		key := r.Int16()
		speaks[key] = versionRange{min: r.Int16(), max: r.Int16()}
	}
	if r.Bad {
		return nil, errMalformed
	}
	return speaks, nil
}
