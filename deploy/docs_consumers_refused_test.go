package deploy_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A consumer that can read nothing says so in a line and ends, instead of being silent for ever; --help consumes nothing.
func TestDocConsumersFailLoudly(t *testing.T) {
	t.Parallel()
	docEachKafka(t, func(t *testing.T, brokers []string) {
		for _, c := range docConsumers(t) {
			if c.missing != "" {
				t.Log("not tried: " + c.missing)
				continue
			}
			for name, tt := range map[string]struct {
				args    []string
				brokers string
				code    int
				want    string
			}{
				"no broker": {nil, "127.0.0.1:1", 1, "no broker of ALERTS_BROKERS"},
				"no topic":  {nil, brokers[0], 1, "ALERTS_TOPIC: topic no-such-topic cannot be read"},
				"help":      {[]string{"--help"}, brokers[0], 0, "ALERTS_TOPIC"},
				"argument":  {[]string{"alerts"}, brokers[0], 2, "ALERTS_TOPIC"},
			} {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				command := exec.CommandContext(ctx, c.command[0], append(c.command[1:], tt.args...)...)
				file := filepath.Join(t.TempDir(), "state")
				command.Env = append(os.Environ(), "ALERTS_BROKERS="+tt.brokers, "ALERTS_TOPIC=no-such-topic", c.state+"="+file)
				out, err := command.CombinedOutput()
				cancel()
				code := 0
				if exit, ok := errors.AsType[*exec.ExitError](err); ok {
					code = exit.ExitCode()
				}
				if code != tt.code || !strings.Contains(string(out), tt.want) || code == 1 && strings.Count(string(out), "\n") != 1 {
					t.Errorf("%s, %s: exit %d, %q; want %d with %q", c.name, name, code, out, tt.code, tt.want)
				}
				if info, err := os.Stat(file); err == nil && (tt.args != nil || info.Size() > 0) {
					t.Errorf("%s, %s: has made %s; want nothing done", c.name, name, file)
				}
			}
		}
	})
}
