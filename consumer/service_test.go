package consumer_test

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func disk() *vfs.MemFS { return vfs.NewCrashableMem() }

// Events one after the other through real transactions, on one and on several instances:
// each alert exactly once.
func TestServiceExactlyOnce(t *testing.T) {
	t.Parallel()
	for _, instances := range []int{1, 2, 3} {
		t.Run(fmt.Sprintf("instances=%d", instances), func(t *testing.T) {
			r := newRig(t, 4, 8)
			events := workload(uint64(instances), 5000, 60)
			for i := range instances {
				r.start(fmt.Sprintf("i%d", i), disk(), nil)
			}
			r.send(records(events, 4)...)
			r.drain()
			r.wantAlerts(expected(events))
		})
	}
}

// A crash in the middle, with any part of the unsynced disk lost, neither loses
// nor doubles an alert; nor does a disk that is gone.
func TestServiceCrashAndRestart(t *testing.T) {
	t.Parallel()
	for _, lost := range []bool{false, true} {
		t.Run(fmt.Sprintf("disk lost=%t", lost), func(t *testing.T) {
			r := newRig(t, 2, 4)
			events := workload(21, 6000, 60)
			fs := disk()
			for i := range 4 {
				in := r.start("only", fs, nil)
				part := events[i*1500 : (i+1)*1500]
				r.send(records(part[:1000], 2)...)
				r.await("some alerts", func() bool { return len(r.alerts()) > i*5 })
				r.send(records(part[1000:], 2)...)
				fs = in.crash()
				if lost {
					fs = disk()
				}
			}
			r.start("only", fs, nil)
			r.drain()
			r.wantAlerts(expected(events))
		})
	}
}

// A clean stop commits all records read, and a start goes on there.
func TestServiceStopAndStart(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1, 2)
	events := workload(31, 2000, 30)
	fs := disk()
	for i := range 4 {
		in := r.start("only", fs, nil)
		r.send(records(events[i*500:(i+1)*500], 1)...)
		r.drain()
		in.shutdown()
	}
	r.wantAlerts(expected(events))
}

// Instances that join and leave move partitions and shards; nothing else changes.
func TestServiceJoinAndLeave(t *testing.T) {
	t.Parallel()
	r := newRig(t, 4, 8)
	events := workload(41, 8000, 60)
	a := r.start("a", disk(), nil)
	r.send(records(events[:2000], 4)...)
	b := r.start("b", disk(), nil)
	r.send(records(events[2000:4000], 4)...)
	r.await("b to have work", func() bool { return b.service.Ready() == nil })
	a.crash()
	r.send(records(events[4000:6000], 4)...)
	r.start("c", disk(), nil)
	r.send(records(events[6000:], 4)...)
	r.drain()
	r.wantAlerts(expected(events))
}
