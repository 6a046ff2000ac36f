package consumer

import (
	"bytes"
	"sync"

	"trailhound/rules"
)

// rulesName is the name under which a shard's state holds the description of the rules of
// its last evaluation.
const rulesName = "rules"

// ruleChanges keeps the log to one message for all shards of a process that have the same
// change of rules and parameters.
type ruleChanges struct {
	mu   sync.Mutex
	told map[string]bool // by the former description
}

// first reports whether a change from this description is new to the process.
func (c *ruleChanges) first(was []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.told[string(was)] {
		return false
	}
	if c.told == nil {
		c.told = make(map[string]bool)
	}
	c.told[string(was)] = true
	return true
}

// noteRules compares the rules with those that the state was last evaluated with, logs the
// changes, and reports whether the state must note the new rules. The rules of a detector
// are fixed, so they change between two transactions (PROTOCOL D11).
func (d *detector) noteRules() (write bool, err error) {
	was, err := d.local.Meta(rulesName)
	if err != nil || bytes.Equal(was, d.engine.Description()) {
		return false, err
	}
	before := d.local.Position().Fingerprint
	switch {
	case was == nil && (len(before) == 0 || bytes.Equal(before, d.engine.Fingerprint())):
		return true, nil // no event was evaluated yet, or a seed has noted the fingerprint alone
	case !d.changed.first(was):
		return true, nil
	}
	changes, err := rules.Changes(was, d.engine.Description())
	if err != nil || was == nil {
		d.log.Info().Str("event", "rules_changed").Msg("rules or parameters have changed; they hold for what is evaluated from now on")
		return true, nil
	}
	for _, c := range changes {
		d.log.Info().Str("rule", c.Rule).Str("parameter", c.Parameter).Str("from", c.From).Str("to", c.To).
			Str("event", "rules_changed").Msg("a rule has changed; that holds for what is evaluated from now on")
	}
	return true, nil
}
