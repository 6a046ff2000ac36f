package play

import (
	"trailhound/rules"
	"trailhound/rules/cloudtrail"
	"trailhound/state"
)

const (
	pageBytes = 256 << 10 // of events, from which a page is full
	pageItems = 1024
)

// page is the decoded and matched events of a part of a batch.
type page struct {
	records, events int64
	items           []item
	matches         []rules.Match
	text            []byte // the bytes to which events and matches refer
}

// item is an event with matches or, without matches, a rejection.
type item struct {
	event    rules.Event
	from, to int // of its matches in the page
	rejected rejection
}

type rejection struct {
	at     state.Source
	index  int
	reason rules.Reason
	detail string
}

// keepPage is the most text that a page keeps for its next use.
const keepPage = 4 * pageBytes

func (l *line) newPage() *page { return l.pages.Get().(*page) }

// give takes back a page after its items were evaluated.
func (l *line) give(p *page) {
	if cap(p.text) > keepPage {
		p.text = nil
	}
	clear(p.items)
	clear(p.matches)
	*p = page{items: p.items[:0], matches: p.matches[:0], text: p.text[:0]}
	l.pages.Put(p)
}

func (p *page) full() bool { return len(p.text) >= pageBytes || len(p.items) >= pageItems }

func (p *page) reject(at state.Source, index int, reason rules.Reason, detail string) {
	p.items = append(p.items, item{rejected: rejection{at, index, reason, detail}})
}

func (p *page) match(ev *rules.Event, matches []rules.Match) {
	it := item{from: len(p.matches)}
	it.event, p.text = ev.Copy(p.text)
	for _, m := range matches {
		m.Key, p.text = cloudtrail.CopyString(m.Key, p.text)
		p.matches = append(p.matches, m)
	}
	it.to = len(p.matches)
	p.items = append(p.items, it)
}
