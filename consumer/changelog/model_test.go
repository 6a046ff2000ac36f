package changelog_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/kafka/txn"
)

// Owners take the shard from each other, crash between commit and apply, leave
// transactions open, lose their disks and are away for days. The last owner has all
// committed changes and no others, and no other owner can commit.
func TestTakeModel(t *testing.T) {
	brokers := kafkatest.Fake(t, 1).ListenAddrs()
	names := []string{"a", "b", "c"}
	rapid.Check(t, func(rt *rapid.T) {
		b := newBench(t, brokers, nil)
		owners := []*owner{b.owner("one"), b.owner("two"), b.owner("three")}
		ready := make(map[*owner]bool) // has taken the shard since its last failure
		var last *owner                // to take the shard
		committed := make(map[string]int64)
		zombies := 0

		check := func(o *owner) {
			for _, name := range names {
				o.want(name, committed[name])
			}
			o.want("ghost", 0)
			if t.Failed() {
				rt.Fatal("the copy is not what was committed")
			}
		}
		one := func(rt *rapid.T) *owner { return rapid.SampledFrom(owners).Draw(rt, "owner") }
		write := func(rt *rapid.T, apply bool) {
			o, name := one(rt), rapid.SampledFrom(names).Draw(rt, "name")
			if !ready[o] {
				rt.Skip("it would have to take the shard first")
			}
			do, err := o.add(name)
			switch {
			case o != last && !errors.Is(err, txn.ErrFenced):
				rt.Fatalf("Commit() of %s = %v after another has taken the shard; want %v", o.log.Owner, err, txn.ErrFenced)
			case o == last && err != nil:
				rt.Fatalf("Commit() of %s = %v; want nil", o.log.Owner, err)
			case err != nil:
				ready[o] = false
				return
			}
			committed[name]++
			if apply {
				do()
				check(o)
			} else {
				ready[o] = false // it has crashed
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"take": func(rt *rapid.T) {
				o := one(rt)
				o.take()
				ready[o], last = true, o
				check(o)
			},
			"write":                  func(rt *rapid.T) { write(rt, true) },
			"crash before the apply": func(rt *rapid.T) { write(rt, false) },
			"leave a transaction open": func(rt *rapid.T) {
				if zombies++; zombies > 3 {
					rt.Skip("enough of them")
				}
				b.leaveOpen(b.id, "ghost")
				last = nil // the open transaction has fenced all owners
			},
			"abort somebody's transaction": func(rt *rapid.T) {
				if zombies++; zombies > 3 {
					rt.Skip("enough of them")
				}
				if err := b.leaveOpen(fmt.Sprint(b.id, zombies), "ghost")(false); err != nil {
					rt.Fatal(err)
				}
			},
			"lose the disk": func(rt *rapid.T) {
				o := one(rt)
				if err := o.shard.Wipe(); err != nil {
					rt.Fatal(err)
				}
				ready[o] = false
			},
			"days go by": func(rt *rapid.T) {
				b.now = b.now.Add(time.Duration(rapid.IntRange(1, 96).Draw(rt, "hours")) * time.Hour)
			},
		})
	})
}
