package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"trailhound/cmd/internal/testbed"
)

// cluster is the brokers of a run, each a process of its own, and the proxies between them and the instances.
type cluster struct {
	root, dir string
	heap      string
	brokers   int
	addresses []string // of the brokers themselves, without a proxy
	proxies   []*proxy // of instance i at i-1
	admin     *kgo.Client
}

// inSyncWithin is how long a broker may take until every partition has all its replicas again.
const inSyncWithin = 2 * time.Minute

// startCluster starts so many brokers, with their data in dir, and a proxy for each of so
// many instances.
func startCluster(ctx context.Context, root, dir, heap string, brokers, instances int) (_ *cluster, err error) {
	c := &cluster{root: root, dir: dir, heap: heap, brokers: brokers}
	defer func() {
		if err != nil {
			c.halt()
		}
	}()
	// A broker that is gone is noticed after broker.session.timeout.ms; until then the partitions it led stand still.
	args := []string{"start", "-n", strconv.Itoa(brokers), "-d", dir, "-c", "broker.session.timeout.ms=3000"}
	for i := range instances {
		advertised, err := testbed.Reserve(brokers)
		if err != nil {
			return nil, err
		}
		own, err := testbed.Reserve(brokers)
		if err != nil {
			return nil, err
		}
		var targets []string
		for _, l := range own {
			targets = append(targets, l.Addr().String())
			l.Close()
		}
		c.proxies = append(c.proxies, newProxy(advertised, targets))
		args = append(args, "-l", fmt.Sprintf("INSTANCE%d:%d:%d", i+1, port(own[0]), port(advertised[0])))
	}
	out, err := c.kafka(ctx, args...)
	if err != nil {
		return nil, err
	}
	c.addresses = strings.Split(strings.TrimSpace(out), ",")
	c.admin, err = kgo.NewClient(kgo.SeedBrokers(c.addresses...), kgo.MetadataMinAge(100*time.Millisecond))
	return c, err
}

func port(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }

// kafka runs kafka.sh and returns its output.
func (c *cluster) kafka(ctx context.Context, args ...string) (string, error) {
	return testbed.Kafka(ctx, c.root, c.heap, args...)
}

// bootstrap returns the addresses by which instance i finds the brokers: its proxy's.
func (c *cluster) bootstrap(i int) []string {
	var all []string
	for _, k := range c.proxies[i-1].links {
		all = append(all, k.listener.Addr().String())
	}
	return all
}

// kill ends broker i with SIGKILL.
func (c *cluster) kill(ctx context.Context, i int) error {
	_, err := c.kafka(ctx, "kill", "-d", c.dir, strconv.Itoa(i))
	return err
}

// up starts broker i again and returns when all partitions have all replicas in sync, so that another may fail.
func (c *cluster) up(ctx context.Context, i int) error {
	if _, err := c.kafka(ctx, "up", "-d", c.dir, strconv.Itoa(i)); err != nil {
		return err
	}
	return c.awaitSync(ctx)
}

// halt ends all brokers; their data stays.
func (c *cluster) halt() {
	if c.admin != nil {
		c.admin.Close()
	}
	for _, p := range c.proxies {
		p.close()
	}
	for i := range c.brokers {
		_ = c.kill(context.Background(), i+1) // a broker that was never started is no error
	}
}

// stop ends all brokers and deletes their data.
func (c *cluster) stop() error {
	c.halt()
	_, err := c.kafka(context.Background(), "stop", "-d", c.dir)
	return err
}

// awaitSync waits until every broker says twice in a row that all replicas of all
// partitions are in sync: a broker that has just started may not know yet.
func (c *cluster) awaitSync(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, inSyncWithin)
	defer cancel()
	for agreed := 0; ; {
		err := c.inSync(ctx)
		if err == nil {
			agreed++
		} else {
			agreed = 0
		}
		if agreed == 2 {
			return nil
		}
		if !testbed.Sleep(ctx, 300*time.Millisecond) {
			return fmt.Errorf("not all replicas are in sync after %s: %w", inSyncWithin, cmp.Or(err, context.Cause(ctx)))
		}
	}
}

// inSync returns nil if every broker says that all replicas of all partitions are in sync.
func (c *cluster) inSync(ctx context.Context) error {
	for i := range c.addresses {
		topics, err := c.metadata(ctx, i+1)
		if err != nil {
			return fmt.Errorf("broker %d: %w", i+1, err)
		}
		for _, t := range topics {
			for _, p := range t.Partitions {
				if p.Leader < 0 || len(p.ISR) < len(p.Replicas) {
					return fmt.Errorf("broker %d: partition %d of %s has leader %d and in-sync replicas %v of %v", i+1, p.Partition, *t.Topic, p.Leader, p.ISR, p.Replicas)
				}
			}
		}
	}
	return nil
}

// metadata asks a broker for its metadata of all topics; broker 0 stands for any that answers.
func (c *cluster) metadata(ctx context.Context, broker int) ([]kmsg.MetadataResponseTopic, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var via kmsg.Requestor = c.admin
	if broker > 0 {
		via = c.admin.Broker(broker)
	}
	resp, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, via) // without topics: all
	if err != nil {
		return nil, err
	}
	for _, t := range resp.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return nil, fmt.Errorf("topic %s: %w", *t.Topic, err)
		}
	}
	return resp.Topics, nil
}

// isCoordinated tells whether the leaders of a topic's partitions are coordinators of groups or transactions.
func isCoordinated(topic string) bool {
	return topic == "__consumer_offsets" || topic == "__transaction_state"
}

// moveLeaders makes another replica that is in sync the leader of about half of the partitions; coordinators says of
// which topics: the internal ones, or the others.
func (c *cluster) moveLeaders(ctx context.Context, rng *rand.Rand, coordinators bool) error {
	topics, err := c.metadata(ctx, 0)
	if err != nil {
		return err
	}
	slices.SortFunc(topics, func(a, b kmsg.MetadataResponseTopic) int { return strings.Compare(*a.Topic, *b.Topic) })
	assign := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	elect := kmsg.NewPtrElectLeadersRequest()
	for _, t := range topics {
		if isCoordinated(*t.Topic) != coordinators {
			continue
		}
		a := kmsg.NewAlterPartitionAssignmentsRequestTopic()
		e := kmsg.NewElectLeadersRequestTopic()
		a.Topic, e.Topic = *t.Topic, *t.Topic
		for _, p := range t.Partitions {
			others := slices.DeleteFunc(slices.Clone(p.ISR), func(id int32) bool { return id == p.Leader })
			if len(others) == 0 || rng.IntN(2) == 0 {
				continue
			}
			first := others[rng.IntN(len(others))]
			ap := kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
			ap.Partition = p.Partition
			ap.Replicas = append([]int32{first}, slices.DeleteFunc(slices.Clone(p.Replicas), func(id int32) bool { return id == first })...)
			a.Partitions = append(a.Partitions, ap)
			e.Partitions = append(e.Partitions, p.Partition)
		}
		if len(a.Partitions) > 0 {
			assign.Topics = append(assign.Topics, a)
			elect.Topics = append(elect.Topics, e)
		}
	}
	if len(assign.Topics) == 0 {
		return nil
	}
	return c.elect(ctx, assign, elect)
}

// elect gives partitions a new order of replicas, and makes the first the leader.
func (c *cluster) elect(ctx context.Context, assign *kmsg.AlterPartitionAssignmentsRequest, elect *kmsg.ElectLeadersRequest) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	assigned, err := assign.RequestWith(ctx, c.admin)
	if err != nil {
		return err
	}
	if err := kerr.ErrorForCode(assigned.ErrorCode); err != nil {
		return fmt.Errorf("reorder replicas: %w", err)
	}
	elected, err := elect.RequestWith(ctx, c.admin)
	if err != nil {
		return err
	}
	if err := kerr.ErrorForCode(elected.ErrorCode); err != nil {
		return fmt.Errorf("elect leaders: %w", err)
	}
	for _, t := range elected.Topics {
		for _, p := range t.Partitions {
			err := kerr.ErrorForCode(p.ErrorCode)
			// The broker that was to lead may have been killed in this moment, or the election have happened by itself.
			if err != nil && !errors.Is(err, kerr.PreferredLeaderNotAvailable) && !errors.Is(err, kerr.ElectionNotNeeded) {
				return fmt.Errorf("elect leader of %s partition %d: %w", t.Topic, p.Partition, err)
			}
		}
	}
	return nil
}

// committed returns the offsets that a group has committed for a topic.
func (c *cluster) committed(ctx context.Context, group, topic string) (map[int32]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req := kmsg.NewPtrOffsetFetchRequest()
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = group
	req.Groups = append(req.Groups, g) // without topics: all
	resp, err := req.RequestWith(ctx, c.admin)
	if err != nil {
		return nil, err
	}
	all := make(map[int32]int64)
	for _, g := range resp.Groups {
		if err := kerr.ErrorForCode(g.ErrorCode); err != nil {
			return nil, err
		}
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				if t.Topic == topic {
					all[p.Partition] = p.Offset
				}
			}
		}
	}
	return all, nil
}
