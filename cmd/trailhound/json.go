package main

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// jsonLine prints a value as one line of JSON; on a terminal without bytes that the
// terminal would act on.
func (a *app) jsonLine(v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	line := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if a.stdoutTerminal {
		line = printableJSON(nil, line)
	}
	_, err := fmt.Fprintf(a.stdout, "%s\n", line)
	return err
}
