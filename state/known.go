package state

// dedupIndex is the index of the events that are remembered, and until when each of them is.
// It is a small log-structured merge tree: the events of the newest pages are in a memtable;
// each time that there are enough of them they become a run on disk, with a Bloom filter.
// All of it is derived from the pages, and made from them where it is missing.
//
// A key of the database for each event, written and removed with its page, would be the
// simple way. It takes 12 µs of CPU an event in BenchmarkSeen instead of 0.8: events come in
// no order, so that 3 µs go to writing, merging and removing the keys; and a Get of a key that
// is not there, as nearly each event is new, asks every table that waits for a compaction.
type dedupIndex struct {
	runs     []run              // in the order of their numbers
	flushed  uint64             // pages with a lower number are in runs, or were
	loaded   bool               // the filters of the runs are in memory, and the memtable
	memtable map[[16]byte]int64 // events that are in no run yet, and until when each is remembered
}

// runEvents is how many events a run has, if they are not too many. A shard's memtable
// takes some 40 bytes for each of them.
const runEvents = 1 << 13

// manyRuns is how many runs of runEvents there are at most, as a look-up asks the filter of
// each; beyond it new runs are larger. As many more are made while the events become 2.7
// times as many, so that there are some hundred in the end.
const manyRuns = 64

// reload reads the list of runs. Their filters, and the pages that are in no run, are read
// when the first event is asked for.
func (k *dedupIndex) reload(h *Shard) error {
	k.clear()
	return h.scan([]byte{kindRun}, nil, func(key, value []byte) (bool, error) {
		r, err := decodeRun(key, value)
		k.runs, k.flushed = append(k.runs, r), r.number
		return true, err
	})
}

// clear makes the index empty, also of runs.
func (k *dedupIndex) clear() {
	k.forget()
	k.runs, k.flushed = nil, 0
}

// forget drops the filters and the memtable, which load reads again.
func (k *dedupIndex) forget() {
	for i := range k.runs {
		k.runs[i].filter = nil
	}
	clear(k.memtable)
	k.loaded = false
}

// until gives the instant until which an event is remembered; noTime: it is not.
func (k *dedupIndex) until(h *Shard, event [16]byte) (int64, error) {
	if err := k.load(h); err != nil {
		return noTime, err
	}
	until, ok := k.memtable[event]
	if !ok {
		until = noTime
	}
	for i := range k.runs {
		if !k.runs[i].filter.may(&event) {
			continue
		}
		at, err := k.runs[i].until(h, event)
		if err != nil {
			return noTime, err
		}
		until = max(until, at)
	}
	return until, nil
}

// load reads the filters of the runs, and the pages that are in none.
func (k *dedupIndex) load(h *Shard) (err error) {
	if k.loaded {
		return nil
	}
	defer func() {
		if k.loaded = err == nil; !k.loaded {
			k.forget()
		}
	}()
	for i := range k.runs {
		if err := k.runs[i].load(h); err != nil {
			return err
		}
	}
	var p page
	return h.scan([]byte{kindPage}, appendNumberKey(nil, kindPage, k.flushed), func(key, value []byte) (bool, error) {
		parsed, err := parseKey(key)
		if err == nil {
			p.pageID = parsed.page
			p.events, err = decodePage(p.events[:0], value, p.end)
		}
		for i := range p.events {
			p.events[i].until = h.pos.rewound.limit(p.number, p.events[i].until)
		}
		if err == nil {
			err = k.add(h, &p)
		}
		return true, err
	})
}

// add takes in a page with a number above those of all others.
func (k *dedupIndex) add(h *Shard, p *page) error {
	if len(k.memtable)+len(p.events) > k.room(h) {
		if err := k.flush(h, p.number); err != nil {
			return err
		}
	}
	if k.memtable == nil {
		k.memtable = make(map[[16]byte]int64, 1<<10)
	}
	for _, e := range p.events {
		if until, ok := k.memtable[e.hash]; !ok || until < e.until {
			k.memtable[e.hash] = e.until
		}
	}
	return nil
}

// room is how many events the memtable has at most.
func (k *dedupIndex) room(h *Shard) int {
	events := 0
	for i := range k.runs {
		events += k.runs[i].filter.room()
	}
	return max(h.store.runEvents, events/manyRuns)
}

// flush makes a run of the memtable: the events of all pages with a number below next, but
// for pages in other runs.
func (k *dedupIndex) flush(h *Shard, next uint64) error {
	if len(k.memtable) == 0 {
		return nil
	}
	b := h.store.db.NewBatch()
	defer b.Close()
	r, err := h.writeRun(b, next, k.memtable)
	if err != nil {
		return err
	}
	if err := h.commit(b); err != nil {
		return err
	}
	k.runs, k.flushed = append(k.runs, r), next
	clear(k.memtable)
	return nil
}

// drop removes the runs of which no event is remembered any more. The pages of such a run
// that still exist will be in the memtable after the next load, to no effect.
func (k *dedupIndex) drop(h *Shard) error {
	b := h.store.db.NewBatch()
	defer b.Close()
	kept := k.runs[:0:0]
	for i := range k.runs {
		if r := &k.runs[i]; r.newest >= h.pos.reached {
			kept = append(kept, *r)
		} else if err := h.removeRun(b, r); err != nil {
			return err
		}
	}
	if len(kept) == len(k.runs) {
		return nil
	}
	if err := h.commit(b); err != nil {
		return err
	}
	k.runs = kept
	return nil
}

// learn follows a Tx that was applied, with its pages; swept says that it has removed some.
func (h *Shard) learn(pages []page, swept bool) error {
	k := &h.known
	for i := range pages {
		if !k.loaded {
			break // no event was asked for yet: load will find them on disk
		}
		if err := k.add(h, &pages[i]); err != nil {
			return err
		}
	}
	if !swept {
		return nil
	}
	return k.drop(h)
}
