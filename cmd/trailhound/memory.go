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
)

// heapPercent is how much of the memory that its cgroup has is the process's memory limit: the rest is for what Go does
// not count, and for what comes while the garbage is being collected.
const heapPercent = 90

// boundMemory makes the memory limit of the process's cgroup that of Go, unless GOMEMLIMIT is smaller. The collector knows
// of no cgroup, and would let garbage grow into it.
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

// cgroupMemory returns how many bytes the cgroup of the process may take, of either version (cgroups(7)); 0: any number,
// or it is not known.
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
	if err != nil || n >= 1<<60 { // "max", and how version 1 says it
		return 0
	}
	return n
}

// shareMemory divides the process's memory limit, and lets limits.max_unpacked follow from it unless that is configured.
func (s *settings) shareMemory() {
	limit := memoryLimit()
	if s.Origin("limits.max_unpacked") == (config.Origin{}) {
		s.Limits.MaxUnpacked = config.Bytes(min(int64(s.Limits.MaxUnpacked), wire.MostUnpacked(limit)))
	}
	s.memory = wire.NewMemory(limit, int64(s.Limits.MaxUnpacked))
}

// tightMemory says that a record may take more memory than the process has; "" if it may not.
func (s *settings) tightMemory() string {
	limit := memoryLimit()
	if limit == 0 || int64(s.Limits.MaxUnpacked) <= wire.MostUnpacked(limit) {
		return ""
	}
	return fmt.Sprintf("limits.max_unpacked is %d bytes, and a record may take three times that; a process with a memory limit of %d bytes can be ended by one: leave the key out, which makes it %d, or give the process more memory",
		s.Limits.MaxUnpacked, limit, wire.MostUnpacked(limit))
}
