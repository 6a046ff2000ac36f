package consumer_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"sync"
)

// told counts, by id, the alerts in the logs of all instances.
type told struct {
	mu     sync.Mutex
	alerts map[string]int
}

// Write takes a line of a log.
func (l *told) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte(`"event":"alert"`)) {
		var fields struct {
			ID string `json:"alert_id"`
		}
		if err := json.Unmarshal(line, &fields); err != nil {
			return 0, err
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.alerts == nil {
			l.alerts = make(map[string]int)
		}
		l.alerts[fields.ID]++
	}
	return len(line), nil
}

// soFar returns how often each alert was logged until now.
func (l *told) soFar() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.alerts)
}

// compareLogs names an alert that was logged without being committed, or more than once; "" if
// there is none. An alert was once logged when it went into a transaction, even one that was
// aborted. An alert that is not logged proves nothing: the answer to a commit can get lost.
func (w *bubble) compareLogs(told map[string]int) string {
	for id, times := range told {
		if !w.ids[id] {
			return fmt.Sprintf("a log tells of alert %s, which is not committed", id)
		}
		if times > 1 {
			return fmt.Sprintf("logs tell of alert %s %d times", id, times)
		}
	}
	return ""
}
