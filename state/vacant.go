package state

import "encoding/binary"

// vacant is a cache of the kinds of values and rules under which the disk has nothing at
// all. A rule mostly has either counters or sets, and SetKeyExpiration asks for both: a
// look-up of an absent key would ask every table of the database. The zero value knows
// nothing.
type vacant map[string]bool

// ruleOf returns the kind and the rule at the front of the key of a counter or a set.
func ruleOf(key []byte) []byte {
	size, n := binary.Uvarint(key[1:])
	return key[:1+n+int(size)]
}

// isVacant tells whether the disk has no value of the key's kind and rule.
func (h *Shard) isVacant(key []byte) (bool, error) {
	rule := ruleOf(key)
	if none, known := h.vacant[string(rule)]; known {
		return none, nil
	}
	none := true
	err := h.scan(rule, nil, func([]byte, []byte) (bool, error) {
		none = false
		return false, nil
	})
	if err != nil {
		return false, err
	}
	if h.vacant == nil {
		h.vacant = vacant{}
	}
	h.vacant[string(rule)] = none
	return none, nil
}

// wrote notes a change.
func (v vacant) wrote(c Change) {
	if c.Value != nil && (c.Key[0] == kindCounter || c.Key[0] == kindSet) && v[string(ruleOf(c.Key))] {
		v[string(ruleOf(c.Key))] = false
	}
}
