package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// deniedFaults are the untrue statements of an alert of access_denied.
func (c *check) deniedFaults(s subject, a *alertBody) (faults []string) {
	wrong := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	n := a.Evidence.Total
	if n < c.Threshold {
		wrong("%d events are fewer than the threshold, %d", n, c.Threshold)
	}
	if a.Context["count"] != float64(n) {
		wrong("count is %v, the evidence has %d events", a.Context["count"], n)
	}
	if min(n, mostEvidence) != len(a.Evidence.Events) || n == 0 {
		wrong("evidence names %d events of %d", len(a.Evidence.Events), n)
		return faults
	}
	times, more := c.evidence(s, a)
	faults = append(faults, more...)
	if len(times) < len(a.Evidence.Events) || n > mostEvidence {
		return faults
	}
	first, last := slices.MinFunc(times, time.Time.Compare), slices.MaxFunc(times, time.Time.Compare)
	span := last.Sub(first)
	if span > c.Window || span == c.Window && !c.Sliding {
		wrong("its events lie %s apart, the window is %s", span, c.Window)
	}
	if a.Context["window_start"] != written(first) {
		wrong("window_start is %v, the first event happened at %s", a.Context["window_start"], written(first))
	}
	want := fmt.Sprintf(" was denied %d times in %s", n, spoken(span))
	if n == 1 {
		want = " was denied once"
	}
	if !strings.HasSuffix(a.Title, want) || len(s.key) <= 256 && a.Title != s.key+want {
		wrong("title is %q, want %q", a.Title, s.key+want)
	}
	if a.Dedup != s.rule+":"+s.key {
		wrong("dedup is %q", a.Dedup)
	}
	return faults
}

// evidence returns the times of the events that an alert of access_denied names, as far as they are true.
func (c *check) evidence(s subject, a *alertBody) (times []time.Time, faults []string) {
	wrong := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	own, completing := make(map[string]bool), false
	for _, named := range a.Evidence.Events {
		e := c.calls[named.place]
		switch {
		case e == nil || !slices.Contains(c.subjects(e), s):
			wrong("at %s stands no denial of this key", named.place.text())
			continue
		case named.ID != e.ID && named.ID != e.identity(s.rule) || named.Time != written(e.at):
			wrong("the event at %s is %s of %s, not %s of %s", named.place.text(), e.ID, written(e.at), named.ID, named.Time)
			continue
		case c.isDead(e, s.rule):
			wrong("the event at %s was dead-lettered", named.place.text())
		}
		id := e.identity(s.rule)
		scope := s.rule + "\x00" + s.key + "\x00" + id
		switch {
		case own[id]:
			wrong("evidence has event %s twice", id)
		case c.spent[scope] != "":
			wrong("evidence has event %s, as alert %s has", id, c.spent[scope])
		}
		own[id], c.spent[scope] = true, a.ID
		completing = completing || named.place == a.Source
		times = append(times, e.at)
	}
	if !completing {
		wrong("the event that completed it is not in its evidence")
	}
	return times, faults
}

// missedDenials looks for alerts that should be there.
func (c *check) missedDenials(s subject) {
	calls := c.distinct(s)
	byTime := slices.Clone(calls)
	slices.SortStableFunc(byTime, func(a, b *call) int { return a.at.Compare(b.at) })
	switch {
	case len(calls) == 0:
	case c.Threshold > mostEvidence: // evidence does not name all that an alert has consumed
		c.Unchecked++
	case c.Sliding:
		c.missedIntervals(s, byTime)
	case inOnePartition(calls) && c.Suppress == 0:
		c.countedThrough(s, calls)
	default:
		c.missedClusters(s, byTime)
	}
}

// missedIntervals looks for intervals of the window's length with enough denials that no alert has consumed.
func (c *check) missedIntervals(s subject, byTime []*call) {
	left := slices.DeleteFunc(byTime, func(e *call) bool { return c.spent[s.rule+"\x00"+s.key+"\x00"+e.identity(s.rule)] != "" })
	for i := 0; i+c.Threshold <= len(left); i++ {
		first, last := left[i], left[i+c.Threshold-1]
		if last.at.Sub(first.at) <= c.Window && !c.explained(s, s.rule+":"+s.key, first.at, last.at) {
			c.miss(s, 1, "%d denials from %s to %s, first at %s", c.Threshold, written(first.at), written(last.at), first.place.text())
			i += c.Threshold - 1
		}
	}
}

// missedClusters asks for the alerts of denials that share one fixed window in every order.
func (c *check) missedClusters(s subject, byTime []*call) {
	whole := true
	for begin := 0; begin < len(byTime); {
		end := begin + 1
		for end < len(byTime) && byTime[end].at.Sub(byTime[end-1].at) < c.Window {
			end++
		}
		first, last := byTime[begin].at, byTime[end-1].at
		if last.Sub(first) >= c.Window {
			whole = false
		} else if want, got := (end-begin)/c.Threshold, between(c.alerts[s], first, last); got < want && !c.explained(s, s.rule+":"+s.key, first, last) {
			c.miss(s, want-got, "%d denials from %s to %s alone give %d alerts", end-begin, written(first), written(last), want)
		}
		begin = end
	}
	if !whole {
		c.Unchecked++
	}
}

// countedThrough counts the fixed windows in the order of arrival, and compares the events that complete one.
func (c *check) countedThrough(s subject, calls []*call) {
	completed := make(map[place]bool)
	for _, a := range c.alerts[s] {
		completed[a.Source] = true
	}
	var w windows
	for _, e := range calls {
		full := w.count(counted{e.identity(s.rule), written(e.at), e.place}, e.at, c.Window, c.Threshold)
		switch {
		case full != nil && !completed[e.place]:
			c.miss(s, 1, "the window that begins at %s is full with the event at %s", written(full.first), e.place.text())
		case full == nil && completed[e.place]:
			c.Untrue++
			c.example("untrue: %s, %s: the event at %s completes no window in the order of its partition", s.rule, s.key, e.place.text())
		}
	}
}
