package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"trailhound/cmd/internal/testbed"
)

// mountDisk gives an instance a disk that can be frozen, or logs why that is left out.
func (s *suite) mountDisk() {
	if !s.freezes {
		return
	}
	var err error
	if s.disk, err = newLoopDisk(s.dir); err != nil {
		s.log.printf("a disk that does not answer is left out: %v", err)
	}
}

// stateDir is the state_dir of instance i.
func (s *suite) stateDir(i int) string {
	if s.disk != nil && i == frozenInstance {
		return filepath.Join(s.disk.dir, "state")
	}
	return filepath.Join(s.dir, "t"+strconv.Itoa(i)+"-state")
}

// halt ends all instances at once. The disk is thawed before: no process ends that waits for it.
func (s *suite) halt() {
	if s.disk != nil {
		_ = s.disk.thaw() // it need not be frozen
	}
	if s.fleet != nil {
		s.fleet.halt()
	}
	if err := s.disk.close(); err != nil {
		s.log.printf("%v", err)
	}
}

// freezeDisk lets the disk of frozenInstance not answer for a while.
func (s *suite) freezeDisk(ctx context.Context, lasts time.Duration) error {
	thaw, err := s.freezeNow()
	if err != nil {
		return err
	}
	testbed.Sleep(ctx, lasts)
	return thaw()
}

// freezeNow freezes the disk of frozenInstance until the function that it returns is called.
func (s *suite) freezeNow() (thaw func() error, err error) {
	note := func(frozen bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		t := &s.trouble[frozenInstance-1]
		t.frozen, t.thawed = frozen, time.Now()
	}
	note(true)
	if err := s.disk.freeze(); err != nil {
		note(false)
		return nil, err
	}
	return func() error {
		defer note(false)
		return s.disk.thaw()
	}, nil
}

// foreign is a producer of transactions that has nothing to do with the product.
type foreign struct{ client *kgo.Client }

func newForeign(brokers []string, id string) (*foreign, error) {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(brokers...), kgo.DefaultProduceTopic(inputTopic), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.TransactionalID(id), kgo.TransactionTimeout(40*time.Second), kgo.MetadataMinAge(100*time.Millisecond),
	)
	return &foreign{client}, err
}

// begin opens a transaction and returns when the record is written in it.
func (f *foreign) begin(ctx context.Context, rec *kgo.Record) error {
	if err := f.client.BeginTransaction(); err != nil {
		return err
	}
	return f.client.ProduceSync(ctx, rec).FirstErr()
}

// end ends the transaction.
func (f *foreign) end(ctx context.Context, how kgo.TransactionEndTry) error {
	return f.client.EndTransaction(ctx, how)
}

// holdInput lets a transaction be open in a partition of the input for a while. Its record
// leads to nothing, so that commit and abort have the same effect; the records behind it
// must wait for either.
func (s *suite) holdInput(ctx context.Context, st step, rng *rand.Rand) error {
	f, err := newForeign(s.cluster.addresses, "foreign-"+strconv.FormatUint(st.Seed, 16))
	if err != nil {
		return err
	}
	defer f.client.Close()
	how, detail := kgo.TryCommit, "it is committed"
	if rng.IntN(2) == 0 {
		how, detail = kgo.TryAbort, "it is aborted"
	}
	trying, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	err = f.begin(trying, &kgo.Record{Partition: int32(st.Targets[0]), Value: []byte(`{"Records":[]}`)})
	if err == nil {
		s.happened(st, detail)
		testbed.Sleep(ctx, st.For)
	}
	if failed := f.end(trying, how); failed != nil {
		// The coordinator may have been killed in this moment; it ends the transaction when that times out.
		s.log.printf("%s: %v", st.Fault, errors.Join(err, fmt.Errorf("end the transaction: %w", failed)))
	}
	return nil
}
