package main

import (
	"encoding/json"
	"strings"
)

// configured returns an alert's parameters as the configuration takes them: without the numbers of seconds that alerts
// have beside durations. What is no object is left to the reader of the configuration.
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
