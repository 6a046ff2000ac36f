package main

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// soaked returns a soak of half an hour, with samples of two instances every ten seconds.
// The second one is restarted every five minutes. Each figure is 100 with noise, plus the
// value of grow.
func soaked(grow func(s sample, figure int) float64) (*soaking, *bytes.Buffer) {
	rng := rand.New(rand.NewPCG(1, 1))
	out := new(bytes.Buffer)
	k := &soaking{suite: &suite{options: options{instances: 2, duration: 30 * time.Minute}}, o: soakOptions{warmUp: time.Minute, growth: 20}, stdout: out}
	for at := time.Duration(0); at < k.duration; at += 10 * time.Second {
		for i := 1; i <= 2; i++ {
			s := sample{instance: i, run: 1, age: at, at: at}
			if i == 2 {
				s.run, s.age = int(at/(5*time.Minute)), at%(5*time.Minute)
			}
			for f := range s.figures {
				s.figures[f] = 100 + rng.NormFloat64() + grow(s, f)
			}
			k.samples = append(k.samples, s)
		}
	}
	return k, out
}

// TestSoakJudge: growth is found, whether restarts hide it or not, and a figure that only
// seems to grow is flat.
func TestSoakJudge(t *testing.T) {
	for name, tt := range map[string]struct {
		grow func(s sample, figure int) float64
		want []string // that grow, by instance
	}{
		"nothing":                 {func(sample, int) float64 { return 0 }, nil},
		"falls":                   {func(s sample, _ int) float64 { return -50 * s.at.Hours() }, nil},
		"a little":                {func(s sample, _ int) float64 { return 5 * s.at.Hours() }, nil},
		"until half-time":         {func(s sample, _ int) float64 { return 100 * min(s.at, 15*time.Minute).Hours() }, nil},
		"warms up":                {func(s sample, _ int) float64 { return -50 * max(0, (time.Minute-s.age).Hours()) }, nil},
		"another after a restart": {func(s sample, f int) float64 { return 20 * float64(s.run%2) * float64(min(1, disk-f)) }, nil},
		"threads":                 {func(s sample, f int) float64 { return on(f == threads, 80*s.at.Hours()) }, []string{"t1 threads", "t2 threads"}},
		"the disk":                {func(s sample, f int) float64 { return on(f == disk, 100*s.at.Hours()) }, []string{"t1 state_dir", "t2 state_dir"}},
		"heap, fast":              {func(s sample, f int) float64 { return on(f == heap, 600*s.age.Hours()) }, []string{"t1 heap", "t2 heap"}},
		"heap until the restart":  {func(s sample, f int) float64 { return on(f == heap, 200*s.age.Hours()) }, []string{"t1 heap"}},
		"a few files":             {func(s sample, f int) float64 { return on(f == openFiles, 30*s.at.Hours()) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			k, out := soaked(tt.grow)
			flat, err := k.judge()
			if err != nil || flat != (len(tt.want) == 0) {
				t.Errorf("judge = %t, %v; want %t", flat, err, len(tt.want) == 0)
			}
			var grows []string
			for line := range strings.Lines(out.String()) {
				if strings.HasSuffix(strings.TrimSpace(line), "GROWS") {
					fields := strings.Fields(line)
					grows = append(grows, strings.TrimRight(fields[0]+" "+fields[1], ","))
				}
			}
			if strings.Join(grows, "; ") != strings.Join(tt.want, "; ") {
				t.Errorf("grows: %q, want %q in\n%s", grows, tt.want, out)
			}
		})
	}
}

func on(yes bool, v float64) float64 {
	if yes {
		return v
	}
	return 0
}

// A run that is too short proves nothing, and says so.
func TestSoakTooShort(t *testing.T) {
	k, _ := soaked(func(sample, int) float64 { return 0 })
	k.samples = k.samples[:20]
	if flat, err := k.judge(); flat || err == nil || !strings.Contains(err.Error(), "longer") {
		t.Errorf("judge of a few samples = %t, %v; want an error", flat, err)
	}
}

func TestSizeOf(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "inner"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, n := range map[string]int{"a": 10, "inner/b": 200} {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, n), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if size, err := sizeOf(dir); size != 210 || err != nil {
		t.Errorf("sizeOf = %d, %v; want 210", size, err)
	}
	if size, err := sizeOf(filepath.Join(dir, "gone")); size != 0 || err != nil {
		t.Errorf("sizeOf a directory that is gone = %d, %v; want 0", size, err)
	}
}

// A wrong command line of a mode is exit code 2 and a sentence, and starts nothing.
func TestModeUsage(t *testing.T) {
	for _, args := range [][]string{
		{"failover", "--times", "0"}, {"failover", "more"}, {"failover", "--brokers", "0"},
		{"soak", "--rate", "0"}, {"soak", "--instances", "1"}, {"soak", "--duration", "10s"}, {"soak", "--roll", "0s"}, {"soak", "more"}, {"soak", "--what"},
	} {
		var stdout, stderr bytes.Buffer
		if code := modes[args[0]](t.Context(), args[1:], &stdout, &stderr); code != exitUsage || stderr.Len() == 0 || stdout.Len() > 0 {
			t.Errorf("%q = %d with %q on stderr; want 2 and what is wrong", args, code, &stderr)
		}
	}
}
