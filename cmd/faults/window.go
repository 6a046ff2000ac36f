package main

import (
	"slices"
	"time"
)

// window is the events of one principal that access_denied has counted in [first, first + length).
type window struct {
	first, newest time.Time
	events        []counted
}

// windows are the fixed windows of one principal, by their beginning.
type windows []*window

// count adds an event to its window: the newest one that holds its time; else the next one
// behind it, moved back to begin with the event, if the newest event in that is less than
// length away; else a new one. A window that reaches the threshold is removed and returned.
func (w *windows) count(e counted, at time.Time, length time.Duration, threshold int) (full *window) {
	i := w.find(at, length)
	if i < 0 {
		*w = append(*w, &window{first: at, newest: at})
		slices.SortFunc(*w, func(a, b *window) int { return a.first.Compare(b.first) })
		i = w.find(at, length)
	}
	own := (*w)[i]
	own.events = append(own.events, e)
	if at.Before(own.first) {
		own.first = at
	}
	if at.After(own.newest) {
		own.newest = at
	}
	if len(own.events) < threshold {
		return nil
	}
	*w = slices.Delete(*w, i, i+1)
	return own
}

// find returns the window that an event of this time belongs to, or -1.
func (w windows) find(at time.Time, length time.Duration) int {
	behind := -1 // the next window behind the event
	for i, c := range slices.Backward(w) {
		switch {
		case c.first.After(at):
			behind = i
		case at.Before(c.first.Add(length)):
			return i
		}
	}
	if behind >= 0 && w[behind].newest.Sub(at) < length {
		return behind
	}
	return -1
}
