package main

import (
	"encoding/json"
	"strings"
)

// configured returns an alert's parameters in the form of the configuration: without the
// seconds that alerts give beside each duration. A value that is no object is left to the
// configuration's reader to refuse.
func configured(parameters json.RawMessage) json.RawMessage {
	var all map[string]json.RawMessage
	if json.Unmarshal(parameters, &all) != nil {
		return parameters
	}
	for name := range all {
		if of, ok := strings.CutSuffix(name, "_seconds"); ok && all[of] != nil {
			delete(all, name)
		}
	}
	left, err := json.Marshal(all)
	if err != nil {
		return parameters
	}
	return left
}
