package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"

	"trailhound/config"
	"trailhound/consumer/kafka/wire"
	"trailhound/rules/cloudtrail"
)

// heapPercent is the share of its cgroup's memory that Go's memory limit gets: the rest is
// for memory that Go does not count, and for allocations during a garbage collection.
const heapPercent = 90

// boundMemory sets Go's memory limit to [heapPercent] of the cgroup's, unless GOMEMLIMIT is
// smaller. The collector knows of no cgroup, and would let garbage grow beyond its limit.
func boundMemory() {
	limit := cgroupMemory(os.DirFS("/"))
	if limit = limit / 100 * heapPercent; limit > 0 && limit < debug.SetMemoryLimit(-1) {
		debug.SetMemoryLimit(limit)
	}
}

// memoryLimit returns the process's memory limit in bytes; 0: there is none.
func memoryLimit() int64 {
	limit := debug.SetMemoryLimit(-1)
	if limit == math.MaxInt64 {
		return 0
	}
	return limit
}

// cgroupMemory returns the memory limit of the process's cgroup in bytes, in either version
// (cgroups(7)); 0: it is unlimited or unknown.
func cgroupMemory(root fs.FS) (least int64) {
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0 // another system
	}
	for line := range strings.Lines(string(groups)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		dir, file := "sys/fs/cgroup", "memory.max"
		if parts[1] == "memory" {
			dir, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		} else if parts[1] != "" {
			continue
		}
		// A container sees its own group at the root, and may have a path that is the host's.
		for group := path.Clean("/" + parts[2]); ; group = path.Dir(group) {
			if n := memoryIn(root, path.Join(dir, group, file)); n > 0 && (least == 0 || n < least) {
				least = n
			}
			if group == "/" {
				break
			}
		}
	}
	return least
}

// memoryIn returns the bytes that a file of a cgroup allows; 0: any number.
func memoryIn(root fs.FS, name string) int64 {
	text, err := fs.ReadFile(root, name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || n >= 1<<60 { // "max", and a huge number in version 1
		return 0
	}
	return n
}

// shareMemory divides the process's memory limit. The part of a record that is held at a
// time follows from it, unless limits.max_unpacked is configured. It does not bound the
// unpacked size of a record: a file with many events in it is read event by event.
func (s *setup) shareMemory() {
	limit := memoryLimit()
	if s.held = int64(s.Limits.MaxUnpacked); !s.unpackedIsSet() {
		s.held = min(s.held, wire.MostUnpacked(limit))
	}
	s.memory = wire.NewMemory(limit, s.held)
}

func (s *setup) unpackedIsSet() bool { return s.Origin("limits.max_unpacked") != (config.Origin{}) }

// decoder returns a decoder with the limits of the configuration.
func (s *setup) decoder() cloudtrail.Decoder {
	return cloudtrail.Decoder{MaxUnpacked: int64(s.Limits.MaxUnpacked), MaxHeld: s.mostHeld()}
}

// mostHeld returns the MaxHeld of decoders, in bytes.
func (s *setup) mostHeld() int64 { return min(s.held, cloudtrail.DefaultMaxHeld) }

// tightMemory returns a warning if a record may take more memory than the process has; else
// "".
func (s *setup) tightMemory() string {
	limit := memoryLimit()
	if limit == 0 || s.held <= wire.MostUnpacked(limit) {
		return ""
	}
	return fmt.Sprintf("limits.max_unpacked is %d bytes, and a record may take three times that; a process with a memory limit of %d bytes can be ended by one: leave the key out, so that at most %d of a record are held at a time, or give the process more memory",
		s.Limits.MaxUnpacked, limit, wire.MostUnpacked(limit))
}
