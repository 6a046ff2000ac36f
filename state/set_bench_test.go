package state_test

import (
	"fmt"
	"testing"
	"time"

	"trailhound/state"
)

// fullSet fills the set of addresses of a key, in transactions of a realistic size.
func fullSet(b *testing.B, h *state.Shard, n int) {
	b.Helper()
	for i := 0; i < n; {
		tx := h.Begin()
		for range min(1000, n-i) {
			s := tx.Scope("assume_role", "key", benchRef(i))
			s.AddToStringSet("ips", fmt.Sprint("2001:db8::", i))
			s.Commit()
			i++
		}
		if err := tx.Apply(int64(i)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEvict is a caller that comes from another address with every event, once a set
// is full.
func BenchmarkEvict(b *testing.B) {
	h := benchShard(b)
	fullSet(b, h, 10_000)
	inTxs(b, h, func(tx *state.Tx, i int) {
		s := tx.Scope("assume_role", "key", benchRef(10_000+i))
		s.AddToStringSetEvicting("ips", fmt.Sprint("2001:db8:1::", i))
		s.Commit()
	})
}

// BenchmarkAlertsOfASet reads the part of a set that alerts show: each event brings a
// member, and a transaction has as many of them.
func BenchmarkAlertsOfASet(b *testing.B) {
	for _, batch := range []int{500, 1000, 2000} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			h := benchShard(b)
			tx := h.Begin()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				s := tx.Scope("assume_role", fmt.Sprint(i/batch), benchRef(i))
				s.AddToStringSet("ips", fmt.Sprint("2001:db8::", i))
				s.GetStringSet("ips").First(100)
				s.Evidence()
				s.Commit()
				if i%batch == batch-1 {
					if err := tx.Apply(int64(i)); err != nil {
						b.Fatal(err)
					}
					tx = h.Begin()
				}
			}
			tx.Discard()
		})
	}
}

// BenchmarkAlertOfAFullSet is one alert in each transaction.
func BenchmarkAlertOfAFullSet(b *testing.B) {
	h := benchShard(b)
	fullSet(b, h, 10_000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		tx := h.Begin()
		s := tx.Scope("assume_role", "key", benchRef(10_000))
		s.GetStringSet("ips").First(100)
		if n, _ := s.Evidence(); n == 0 {
			b.Fatal(tx.Err())
		}
		if err := tx.Apply(int64(20_000 + i)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkKnownMember is the usual path of the rule: an address that is known, of one of
// many roles, noted once a day.
func BenchmarkKnownMember(b *testing.B) {
	h, keys := benchShard(b), benchKeys(2000)
	for i := 0; i < len(keys); {
		tx := h.Begin()
		for range 500 {
			s := tx.Scope("assume_role", keys[i], benchRef(i))
			s.AddToStringSet("ips", "198.51.100.1", "198.51.100.2", "198.51.100.3", "198.51.100.4")
			s.Commit()
			i++
		}
		if err := tx.Apply(int64(i)); err != nil {
			b.Fatal(err)
		}
	}
	members := []string{"198.51.100.1", "198.51.100.2", "198.51.100.3", "198.51.100.4"}
	inTxs(b, h, func(tx *state.Tx, i int) {
		s := tx.Scope("assume_role", keys[i*7919%len(keys)], benchRef(i))
		if set := s.GetStringSet("ips"); set.Len() > 0 && set.Has(members[i&3]) {
			s.RenewStringSet("ips", 24*time.Hour, members[i&3])
		}
		s.Commit()
	})
}
