package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// release is the version of this build, set by the linker (-X main.release=v1.2.3); without
// it the module's version is taken.
var release string

// build is the output of version, as JSON.
type build struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func versionCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			if asJSON {
				return a.jsonLine(build{version(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH})
			}
			_, err := fmt.Fprintln(a.stdout, versionLine())
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

// version returns the release, or the module's version, or "devel" with the commit if that is known.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return versionOf(release, info)
}

// shownCommit is the length of a commit in a version, as in git.
const shownCommit = 7

// versionOf returns the version of a build with this release and information.
func versionOf(release string, info *debug.BuildInfo) string {
	if release != "" && release != "devel" {
		return release
	}
	revision, changed := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = "-dirty"
		}
	}
	tag := strings.TrimSuffix(info.Main.Version, "+dirty")
	switch {
	// Go gives a build of a commit without a tag a version such as
	// v0.0.0-20260301100000-0123456789ab. https://go.dev/ref/mod#pseudo-versions
	case tag != "" && tag != "(devel)" && (len(revision) < 12 || !strings.HasSuffix(tag, revision[:12])):
		return tag + changed
	case revision != "":
		return "devel-" + revision[:min(len(revision), shownCommit)] + changed
	}
	return "devel"
}

// versionLine returns the version, the Go version and the platform.
func versionLine() string {
	return fmt.Sprintf("trailhound %s %s %s/%s", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
