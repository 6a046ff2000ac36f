package main

import (
	"strings"
	"testing"
	"time"

	"trailhound/config"
	"trailhound/consumer/changelog"
)

// A restore shows below the log on a terminal, and is gone at its end; through a
// pipe there is none.
func TestRestoreBar(t *testing.T) {
	s := &setup{config: &config.Config{}}
	s.config.Log.Level, s.config.Log.Format = "info", "auto"
	if _, bar, err := serviceLog(&app{stderr: &strings.Builder{}}, s); bar != nil || err != nil {
		t.Errorf("serviceLog() through a pipe = a bar %v, %v; want none", bar, err)
	}
	term := newTerminal(t)
	log, bar, err := serviceLog(&app{stderr: term.side, stderrTerminal: true, environment: []string{"NO_COLOR=1"}}, s)
	if err != nil {
		t.Fatal(err)
	}
	bar.restoring(changelog.Restoration{Shards: 8, Left: 600, Read: 400, Took: time.Second})
	log.Info().Msg("shard taken")
	bar.restoring(changelog.Restoration{Shards: 3, Left: 100, Read: 900, Took: 2 * time.Second})
	bar.restoring(changelog.Restoration{Read: 1000, Took: 2 * time.Second})
	log.Info().Msg("the end")
	text := term.text()
	for _, want := range []string{"restoring state, shards left: 8", "restoring state, shards left: 3", "INF shard taken\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("the terminal shows %q; want %q in it", text, want)
		}
	}
	if last := text[strings.LastIndex(text, "\r")+1:]; !strings.HasSuffix(last, "INF the end\n") || strings.Contains(last, "restoring") {
		t.Errorf("the terminal ends with %q; want the line of the log alone", last)
	}
}
