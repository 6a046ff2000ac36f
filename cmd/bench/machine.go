package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
)

// figure is a number that may be unknown: NaN. Then it is printed as a dash, and as null in JSON.
type figure float64

var unknown = figure(math.NaN())

func (f figure) known() bool { return !math.IsNaN(float64(f)) && !math.IsInf(float64(f), 0) }

// text is the number with so many decimals, and commas between thousands.
func (f figure) text(decimals int) string {
	if !f.known() {
		return "–"
	}
	whole, fraction, _ := strings.Cut(strconv.FormatFloat(math.Abs(float64(f)), 'f', decimals, 64), ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if fraction != "" {
		whole += "." + fraction
	}
	if f < 0 {
		whole = "-" + whole
	}
	return whole
}

// MarshalJSON implements [json.Marshaler].
func (f figure) MarshalJSON() ([]byte, error) {
	if !f.known() {
		return []byte("null"), nil
	}
	return json.Marshal(math.Round(float64(f)*1e4) / 1e4)
}

// The functions below read /proc of Linux. Elsewhere the figures are unknown.

// ticks are the units of CPU time in /proc per second: USER_HZ, which is 100 for every program on Linux.
const ticks = 100

// cpuOf is the CPU seconds that processes have used, together.
func cpuOf(pids ...int) figure {
	sum := figure(0)
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return unknown
		}
		// The second field is the command's name, which may hold anything; utime and stime are the 14th and 15th.
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if len(fields) < 13 {
			return unknown
		}
		user, err1 := strconv.ParseFloat(fields[11], 64)
		system, err2 := strconv.ParseFloat(fields[12], 64)
		if err1 != nil || err2 != nil {
			return unknown
		}
		sum += figure((user + system) / ticks)
	}
	if len(pids) == 0 {
		return unknown
	}
	return sum
}

// memoryOf is a figure of /proc/PID/status in MB (10⁶ bytes), such as VmRSS or VmHWM, its peak.
func memoryOf(pid int, name string) figure {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return unknown
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == name+":" {
			if kb, err := strconv.ParseFloat(fields[1], 64); err == nil {
				return figure(kb * 1024 / 1e6)
			}
		}
	}
	return unknown
}

// cpuOfAll is the CPU seconds that the whole machine has used.
func cpuOfAll() figure {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return unknown
	}
	line, _, _ := strings.Cut(string(text), "\n")
	sum := 0.0
	for i, field := range strings.Fields(line) {
		const idle, waiting, guest = 4, 5, 9 // those of guests are in user and nice already
		if v, err := strconv.ParseFloat(field, 64); err == nil && i != idle && i != waiting && i < guest {
			sum += v
		}
	}
	return figure(sum / ticks)
}

// loadAverage is the load average of the last minute.
func loadAverage() figure {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return unknown
	}
	first, _, _ := strings.Cut(string(text), " ")
	v, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return unknown
	}
	return figure(v)
}
