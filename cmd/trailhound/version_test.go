package main

import (
	"runtime/debug"
	"strings"
	"testing"
)

// Two builds of different commits have different versions.
func TestVersionOf(t *testing.T) {
	const commit = "9bc0826d0f5ec0a0b1c2d3e4f5a6b7c8d9e0f1a2"
	for _, c := range []struct {
		release, module, revision, modified string
		want                                string
	}{
		{"v1.2.3", "", "", "", "v1.2.3"},
		{"v1.2.3", "v0.0.0-20260301100000-9bc0826d0f5e", commit, "true", "v1.2.3"},
		{"", "v0.0.0-20260301100000-9bc0826d0f5e", commit, "false", "devel-9bc0826"},
		{"", "v0.0.0-20260301100000-9bc0826d0f5e+dirty", commit, "true", "devel-9bc0826-dirty"},
		{"", "v1.2.4-0.20260301100000-9bc0826d0f5e", commit, "false", "devel-9bc0826"},
		{"devel", "(devel)", commit, "", "devel-9bc0826"}, // as the Dockerfile has it
		{"", "v1.2.3", commit, "false", "v1.2.3"},
		{"", "v1.2.3+dirty", commit, "true", "v1.2.3-dirty"},
		{"", "(devel)", "", "", "devel"},
		{"", "", "", "", "devel"},
		{"", "v1.2.3", "", "", "v1.2.3"}, // go install of a module
	} {
		info := &debug.BuildInfo{Main: debug.Module{Version: c.module}}
		for key, value := range map[string]string{"vcs.revision": c.revision, "vcs.modified": c.modified} {
			if value != "" {
				info.Settings = append(info.Settings, debug.BuildSetting{Key: key, Value: value})
			}
		}
		if got := versionOf(c.release, info); got != c.want {
			t.Errorf("versionOf(%q, %s, %s, %s) = %s; want %s", c.release, c.module, c.revision, c.modified, got, c.want)
		}
	}
}

// --version and -v print the output of the command version.
func TestVersionFlag(t *testing.T) {
	want := command(t.Context(), "", nil, "version")
	for _, flag := range []string{"--version", "-v"} {
		if got := command(t.Context(), "", nil, flag); got != want || got.code != 0 || !strings.HasPrefix(got.stdout, "trailhound ") {
			t.Errorf("%s = %+v; want %+v", flag, got, want)
		}
	}
}
