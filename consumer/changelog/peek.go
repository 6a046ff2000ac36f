package changelog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"trailhound/consumer/kafka/wire"
	"trailhound/state"
)

// Peek reads a changelog partition as it stands, without a claim: its owner may commit more
// meanwhile. Peek writes nothing.
type Peek struct {
	Client    *wire.Client
	Topic     string
	TopicID   [16]byte
	Partition int32
}

const (
	peekPatience = 15 * time.Second // without progress: a leader may move
	peekPause    = 100 * time.Millisecond
)

// Each gives the committed records from one offset to another, exclusive, in their order.
// The record is valid until each returns; an error of each ends it. A record that each
// cannot read, by state.ErrFormat or state.ErrDamaged, is a *fatal.Error.
func (p Peek) Each(ctx context.Context, from, to int64, each func(*wire.Record) error) error {
	var f wire.Fetched
	heard, pause := time.Now(), wire.Backoff{Least: peekPause, Most: time.Second}
	for from < to {
		err := p.Client.Fetch(ctx, wire.FetchRequest{
			Topic: p.Topic, TopicID: p.TopicID, Partition: p.Partition, Offset: from, ReadCommitted: true,
			MaxWait: fetchWait, MinBytes: 1, MaxBytes: fetchBytes,
		}, &f)
		if err == nil && f.Next > from {
			if err := p.records(&f, to, each); err != nil {
				return err
			}
			from, heard = f.Next, time.Now()
			continue
		}
		if time.Since(heard) > peekPatience || err != nil && pause.Sleep(ctx) != nil {
			return fmt.Errorf("read changelog %s partition %d at offset %d of %d: %w", p.Topic, p.Partition, from, to, orStuck(err))
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// orStuck is err, or the error for a fetch that succeeds without records.
func orStuck(err error) error {
	if err != nil {
		return err
	}
	return errors.New("its leader sends no more records")
}

func (p Peek) records(f *wire.Fetched, to int64, each func(*wire.Record) error) error {
	var failed error
	err := f.Each(func(r *wire.Record) bool {
		if r.Offset < to {
			failed = each(r)
		}
		return failed == nil
	})
	if err = errors.Join(failed, err); err == nil {
		return nil
	}
	if stop := unreadable(p.Topic, p.Partition, err); stop != nil {
		return stop
	}
	return fmt.Errorf("read changelog %s partition %d: %w", p.Topic, p.Partition, err)
}

// Found holds a shard's records about its app.
type Found struct {
	identity, seeding []byte // records; nil: none
}

// Empty says that the shard says nothing: as far as it knows, the app is new.
func (f *Found) Empty() bool { return f.identity == nil && f.seeding == nil }

// Local returns the records about the app in the local copy of a changelog partition, and the
// next offset to read behind them. Not ok: the copy is of no use for that, and the partition
// has to be read from its start.
func Local(h *state.Shard, topicID [16]byte) (found Found, next int64, ok bool) {
	id, err := readIdentity(h)
	if err != nil || id == nil || id.State.ID != topicID {
		return Found{}, 0, false
	}
	// The mark of a seed is deleted at its end: an old copy may have missed that.
	if seeding, err := Seeding(h); err != nil || seeding {
		return Found{}, 0, false
	}
	return Found{identity: id.Encode()}, h.Position().Changelog, true
}

// Read adds the records about the app from one offset to another, exclusive.
func (f *Found) Read(ctx context.Context, p Peek, from, to int64) error {
	return p.Each(ctx, from, to, func(r *wire.Record) error {
		for name, record := range map[string]*[]byte{identityName: &f.identity, seedingName: &f.seeding} {
			value, ok, err := state.MetaOf(name, r.Key, r.Value)
			if err != nil {
				return err
			}
			if ok {
				*record = nil
				if value != nil {
					*record = append([]byte{}, value...)
				}
			}
		}
		return nil
	})
}

// Agree compares the identity found with the member's own. The function Agree, called once
// the shard is taken, has the last word: another member may have written since. A nil error
// also means that the app is new.
func (f *Found) Agree(own *Identity, accept Accept) error {
	if f.seeding != nil {
		return stopSeeding(own)
	}
	if f.identity == nil {
		return nil
	}
	old, err := decodeIdentity(f.identity)
	if err != nil {
		return err
	}
	_, err = compare(old, own, accept)
	return err
}
