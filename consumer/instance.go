package consumer

import (
	"errors"
	"fmt"

	"github.com/rs/zerolog"

	"trailhound/consumer/admin"
	"trailhound/consumer/changelog"
	"trailhound/consumer/fatal"
	"trailhound/consumer/kafka/group"
	"trailhound/consumer/kafka/topic"
	"trailhound/consumer/kafka/wire"
	"trailhound/rules"
	"trailhound/state"
)

// instance is the configuration of a Service that its inputs and shards share. It does not
// change while they run.
type instance struct {
	client  *wire.Client
	app     topic.App
	topics  map[string]topic.Info // as of the start
	store   *state.Store
	engine  *rules.Engine
	member  *group.Member
	metrics *admin.Metrics
	log     zerolog.Logger
	accept  changelog.Accept
	version string // of this build; alerts and dead letters name it
}

// inputPartitions is the number of partitions of all inputs: as many as one
// instance may come to read.
func (c *instance) inputPartitions() (n int) {
	for _, name := range c.app.Inputs {
		n += len(c.topics[name].Partitions)
	}
	return n
}

// stall returns the error of a partition that makes no progress: the reason why, with the
// request that has waited longest for its answer.
func (c *instance) stall(why string) error {
	if why == "" {
		return nil
	}
	if disk := c.store.Stalled(); disk != "" {
		why += "; the disk of the local state does not answer: " + disk
	} else if asked := c.client.Unanswered(unanswered); asked != "" {
		why += "; " + asked
	}
	return errors.New(why)
}

// diskStall returns the error of a local state with a disk that does not answer; nil: it does.
func (c *instance) diskStall() error {
	if disk := c.store.Stalled(); disk != "" {
		return fmt.Errorf("the disk of the local state does not answer: %s; the instance ends if that goes on, and others take over", disk)
	}
	return nil
}

// blame returns the error that makes the local state unusable, or err if there is none.
func blame(store *state.Store, err error) error {
	if failed := store.Err(); failed != nil {
		return &fatal.Error{Newer: errors.Is(failed, state.ErrFormat), Sentence: "state_dir: " + failed.Error()}
	}
	return err
}
