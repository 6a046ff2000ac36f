package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// assumedFaults are the untrue statements of an alert of assume_role_unique_ip.
func (c *check) assumedFaults(s subject, a *alertBody, e *call) (faults []string) {
	wrong := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	from := e.origin()
	if a.Dedup != s.rule+":"+s.key+":"+from {
		wrong("dedup is %q, the call came from %s", a.Dedup, from)
	}
	if ip := a.Context["source_ip"]; ip != from && ip != canonical(e.IP) {
		wrong("source_ip of the context is %v, the call came from %s", ip, from)
	}
	taught := make(map[string]bool) // by successful calls
	for _, other := range c.keyed[s] {
		if !other.failed() && !c.isDead(other, s.rule) && !other.behind(e) {
			taught[other.origin()] = true
		}
	}
	known, ok := c.known(a)
	if !ok || len(known) == 0 {
		wrong("known_ips is %v", a.Context["known_ips"])
	}
	for _, k := range known {
		switch {
		case k == from:
			wrong("its own address, %s, is among the known ones", k)
		case !taught[k]:
			wrong("%s is known, but no successful call for the role came from it", k)
		}
	}
	if total, _ := a.Context["known_total"].(float64); int(total) < len(known) || len(known) < min(int(total), mostKnown) {
		wrong("known_total is %v of %d", a.Context["known_total"], len(known))
	}
	if total, _ := a.Context["known_total"].(float64); !strings.HasSuffix(a.Title, fmt.Sprintf("(%d known)", int(total))) {
		wrong("title is %q, with %v known", a.Title, total)
	}
	return append(faults, c.namedCalls(s, a, known, from)...)
}

// mostKnown is how many known addresses an alert lists.
const mostKnown = 100

// known are the addresses that an alert lists as known.
func (c *check) known(a *alertBody) (known []string, ok bool) {
	list, ok := a.Context["known_ips"].([]any)
	for _, one := range list {
		ip, isText := one.(string)
		known, ok = append(known, ip), ok && isText
	}
	return known, ok
}

// namedCalls are the untrue statements in the evidence of known addresses, if any is given.
func (c *check) namedCalls(s subject, a *alertBody, known []string, from string) (faults []string) {
	wrong := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	seen := make(map[place]bool)
	for _, named := range a.Evidence.Events {
		e := c.calls[named.place]
		switch {
		case e == nil || !slices.Contains(c.subjects(e), s):
			wrong("at %s stands no call for this role", named.place.text())
		case named.ID != e.ID && named.ID != e.identity(s.rule) || named.Time != written(e.at):
			wrong("the event at %s is %s of %s, not %s of %s", named.place.text(), e.ID, written(e.at), named.ID, named.Time)
		case seen[named.place]:
			wrong("evidence has the event at %s twice", named.place.text())
		case e.origin() != from && len(known) < mostKnown && !slices.Contains(known, e.origin()):
			wrong("evidence has a call from %s, which is not known", e.origin())
		}
		seen[named.place] = true
	}
	return faults
}

// missedAddresses looks for alerts that should be there: one address was trusted first, and every other one is alerted on.
func (c *check) missedAddresses(s subject) {
	calls := c.distinct(s)
	var good []*call
	for _, e := range calls {
		if !e.failed() {
			good = append(good, e)
		}
	}
	if len(good) == 0 {
		return
	}
	byTime := func(a, b *call) int { return a.at.Compare(b.at) }
	if slices.MaxFunc(good, byTime).at.Sub(slices.MinFunc(good, byTime).at) > lifetimeOfSets && !c.usedAlways(good) {
		c.Unchecked++ // the set may have expired
		return
	}
	candidates := make(map[string]bool)
	for _, e := range good {
		candidates[e.origin()] = true
	}
	if inOnePartition(calls) {
		candidates = map[string]bool{good[0].origin(): true} // the first
	}
	fewest, what := -1, ""
	for trusted := range candidates {
		if n, example := c.missedUnless(s, good, trusted); fewest < 0 || n < fewest {
			fewest, what = n, example
		}
	}
	if fewest > 0 {
		c.miss(s, fewest, "%s", what)
	}
}

// usedAlways tells whether every address of the role was used so often that it never expired.
func (c *check) usedAlways(good []*call) bool {
	last := make(map[string]time.Time)
	sorted := slices.SortedFunc(slices.Values(good), func(a, b *call) int { return a.at.Compare(b.at) })
	end := sorted[len(sorted)-1].at
	for _, e := range sorted {
		from := e.origin()
		if before, ok := last[from]; !ok && e.at.Sub(sorted[0].at) > lifetimeOfSets || ok && e.at.Sub(before) > lifetimeOfSets {
			return false
		}
		last[from] = e.at
	}
	for _, at := range last {
		if end.Sub(at) > lifetimeOfSets {
			return false
		}
	}
	return true
}

// missedUnless is how many alerts are missing, or there without reason, if this address was the trusted one.
func (c *check) missedUnless(s subject, good []*call, trusted string) (n int, example string) {
	alerted := make(map[string]bool) // by call, and with remember by address
	for _, a := range c.alerts[s] {
		e := c.calls[a.Source]
		if e == nil {
			continue // an untrue alert
		}
		known, _ := c.known(a)
		if e.origin() == trusted || !slices.Contains(known, trusted) && len(known) < mostKnown || !c.Remember && len(known) != 1 {
			n, example = n+1, fmt.Sprintf("if %s was trusted first, the alert of %s is wrong", trusted, e.place.text())
		}
		alerted[e.identity(s.rule)] = true
		if c.Remember {
			alerted[e.origin()] = true
		}
	}
	for _, e := range good {
		from := e.origin()
		if from == trusted || alerted[e.identity(s.rule)] || alerted[from] || c.explained(s, s.rule+":"+s.key+":"+from, e.at, e.at) {
			continue
		}
		if c.Remember {
			alerted[from] = true // one alert each
		}
		n, example = n+1, fmt.Sprintf("if %s was trusted first, the call from %s at %s should have given an alert", trusted, from, e.place.text())
	}
	return n, example
}
