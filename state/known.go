package state

import "encoding/binary"

// dedupIndex is the index of the events that are remembered, and until when each of them is.
// It is a small log-structured merge tree: the events of the newest pages are in memory;
// each time that there are enough of them they become a run on disk, with a Bloom filter.
// All of it is derived from the pages, and made from them where it is missing.
//
// A key of the database for each event, written and removed with its page, would be the
// simple way. It takes 12 µs of CPU an event in BenchmarkSeen instead of 0.8: events come in
// no order, so that 3 µs go to writing, merging and removing the keys; and a Get of a key that
// is not there, as nearly each event is new, asks every table that waits for a compaction.
type dedupIndex struct {
	runs   []run  // in the order of their numbers
	folded uint64 // pages with a lower number are in runs, or were
	loaded bool   // the filters of the runs are in memory, and all fresh events
	fresh  freshEvents
}

// reload reads the list of runs. Their filters, and the pages that are in no run, are read
// when the first event is asked for.
func (k *dedupIndex) reload(h *Shard) error {
	k.clear()
	return h.scan([]byte{kindRun}, nil, func(key, value []byte) (bool, error) {
		r, err := decodeRun(key, value)
		k.runs, k.folded = append(k.runs, r), r.number
		return true, err
	})
}

// clear makes the index empty, also of runs.
func (k *dedupIndex) clear() {
	k.forget()
	k.runs, k.folded = nil, 0
}

// forget drops the filters and the fresh events, which load reads again.
func (k *dedupIndex) forget() {
	for i := range k.runs {
		k.runs[i].filter = nil
	}
	k.loaded, k.fresh = false, k.fresh.reset()
}

// until gives the instant until which an event is remembered; noTime: it is not.
func (k *dedupIndex) until(h *Shard, event [16]byte) (int64, error) {
	if err := k.load(h); err != nil {
		return noTime, err
	}
	until := k.fresh.until(event)
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
	return h.scan([]byte{kindPage}, appendNumberKey(nil, kindPage, k.folded), func(key, value []byte) (bool, error) {
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
	if len(k.fresh.events)+len(p.events) > k.room(h) {
		if err := k.fold(h, p.number); err != nil {
			return err
		}
	}
	for _, e := range p.events {
		k.fresh.add(e)
	}
	return nil
}

// room is how many events are fresh at most.
func (k *dedupIndex) room(h *Shard) int {
	events := 0
	for i := range k.runs {
		events += k.runs[i].filter.room()
	}
	return max(h.store.runEvents, events/manyRuns)
}

// fold makes a run of the fresh events: those of all pages with a number below next, but
// for pages in other runs.
func (k *dedupIndex) fold(h *Shard, next uint64) error {
	if len(k.fresh.events) == 0 {
		return nil
	}
	b := h.store.db.NewBatch()
	defer b.Close()
	r, err := h.writeRun(b, next, k.fresh.events)
	if err != nil {
		return err
	}
	if err := h.commit(b); err != nil {
		return err
	}
	k.runs, k.folded = append(k.runs, r), next
	k.fresh = k.fresh.reset()
	return nil
}

// drop removes the runs of which no event is remembered any more. The pages of such a run
// that still exist will be taken for fresh by the next load, to no effect.
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

// freshEvents are events that are in no run yet.
type freshEvents struct {
	events []remembered
	slots  []uint32 // hash table: place of the event in events, plus one; 0: empty
}

// reset gives the empty table, in the same memory.
func (f *freshEvents) reset() freshEvents {
	clear(f.slots)
	return freshEvents{events: f.events[:0], slots: f.slots}
}

// slot gives the place of an event in slots, or where it belongs.
func (f *freshEvents) slot(event *[16]byte) *uint32 {
	for i := binary.LittleEndian.Uint32(event[:]); ; i++ {
		s := &f.slots[i%uint32(len(f.slots))]
		if *s == 0 || f.events[*s-1].hash == *event {
			return s
		}
	}
}

func (f *freshEvents) until(event [16]byte) int64 {
	if len(f.events) == 0 {
		return noTime
	}
	if s := *f.slot(&event); s > 0 {
		return f.events[s-1].until
	}
	return noTime
}

func (f *freshEvents) add(e remembered) {
	if 2*len(f.events) >= len(f.slots) {
		f.slots = make([]uint32, max(2*len(f.slots), 1<<8)) // a power of two
		for i := range f.events {
			*f.slot(&f.events[i].hash) = uint32(i + 1)
		}
	}
	s := f.slot(&e.hash)
	if *s == 0 {
		f.events = append(f.events, e)
		*s = uint32(len(f.events))
		return
	}
	old := &f.events[*s-1]
	old.until = max(old.until, e.until)
}
