package topic

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"trailhound/consumer/kafka/wire"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func testApp() App {
	return App{ID: "trailhound", Shards: 8, Inputs: []string{"cloudtrail"}, Alerts: "alerts", DeadLetter: "cloudtrail-dead-letter"}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*App)
		want   string // part of the sentence; "": none
	}{
		{"as configured", func(*App) {}, ""},
		{"every character of an id", func(a *App) { a.ID = "a-z_09" }, ""},
		{"no id", func(a *App) { a.ID = "" }, `app id ""`},
		{"a dot in the id", func(a *App) { a.ID = "trail.hound" }, `app id "trail.hound": use lower-case letters`},
		{"upper case", func(a *App) { a.ID = "Trailhound" }, `app id "Trailhound"`},
		{"a line break at the end", func(a *App) { a.ID = "trailhound\n" }, "app id"},
		{"no shards", func(a *App) { a.Shards = 0 }, "shards is 0"},
		{"no inputs", func(a *App) { a.Inputs = nil }, "no input topic"},
		{"no name", func(a *App) { a.Alerts = "" }, `topic name ""`},
		{"a name too long", func(a *App) { a.DeadLetter = strings.Repeat("x", 250) }, "topic name"},
		{"a name Kafka refuses", func(a *App) { a.Inputs = []string{"cloud trail"} }, `topic name "cloud trail"`},
		{"dots alone", func(a *App) { a.Inputs = []string{".."} }, `topic name ".."`},
		{"alerts into an input", func(a *App) { a.Alerts = "cloudtrail" }, "topic cloudtrail is configured for two purposes"},
		{"an internal topic as input", func(a *App) { a.Inputs = append(a.Inputs, "trailhound.work") }, "topic trailhound.work is configured for two purposes"},
		{"an input twice", func(a *App) { a.Inputs = append(a.Inputs, "cloudtrail") }, "topic cloudtrail is configured for two purposes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := testApp()
			c.change(&a)
			err := a.Validate()
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("Validate(%+v) = %v; want %q", a, err, c.want)
			}
		})
	}
}

func TestWantedMessageLimits(t *testing.T) {
	for _, c := range []struct {
		input, alert              int
		work, state, alerts, dead int
	}{
		{0, 0, 8 << 20, 8 << 20, defaultMessageBytes + 64<<10, defaultMessageBytes + 64<<10},
		{2 << 20, 0, 8 << 20, 8 << 20, 2<<20 + 64<<10, 2<<20 + 64<<10},
		{2 << 20, 4 << 20, 8 << 20, 8 << 20, 4<<20 + 64<<10, 2<<20 + 64<<10},
		{8 << 20, 1 << 20, 8<<20 + 64<<10, 8 << 20, 8<<20 + 64<<10, 8<<20 + 64<<10},
		{1<<31 - 1, 0, 1<<31 - 1, 8 << 20, 1<<31 - 1, 1<<31 - 1},
	} {
		a := testApp()
		a.MaxAlertBytes = c.alert
		inputs := make(map[string]Info)
		if c.input > 0 {
			inputs["cloudtrail"] = Info{Config: map[string]string{"max.message.bytes": strconv.Itoa(c.input)}}
		}
		for i, want := range []int{c.work, c.state, c.alerts, c.dead} {
			s := a.Wanted(inputs)[i]
			if got := s.Config["max.message.bytes"]; got != strconv.Itoa(want) {
				t.Errorf("Wanted(input of %d bytes, alerts of %d): %s has max.message.bytes %s; want %d", c.input, c.alert, s.Name, got, want)
			}
		}
	}
}

// good returns the topics of an application as Create makes them on three brokers.
func good(a App) map[string]Info {
	infos := map[string]Info{"cloudtrail": topicInfo("cloudtrail", 6, 3, map[string]string{"max.message.bytes": "1048588"})}
	for _, s := range a.Wanted(infos) {
		config := maps.Clone(s.Config)
		config["min.insync.replicas"] = "2"
		infos[s.Name] = topicInfo(s.Name, max(s.Partitions, 1), 3, config)
	}
	return infos
}

func topicInfo(name string, partitions, replicas int, config map[string]string) Info {
	info := Info{Name: name, ID: [16]byte{1}, Config: config}
	for p := range partitions {
		info.Partitions = append(info.Partitions, wire.PartitionMetadata{Index: int32(p), Replicas: make([]int32, replicas)})
	}
	info.Replication = replication(info.Partitions)
	return info
}

// TestProblems spells out the sentences about each fault.
func TestProblems(t *testing.T) {
	var b strings.Builder
	for _, c := range []struct {
		name   string
		change func(*App, map[string]Info)
	}{
		{"nothing is wrong", func(*App, map[string]Info) {}},
		{"a setting that the cluster does not tell", func(_ *App, i map[string]Info) { delete(i["trailhound.work"].Config, "unclean.leader.election.enable") }},
		{"nothing is there", func(_ *App, i map[string]Info) { clear(i) }},
		{"nothing is there and three replicas are configured", func(a *App, i map[string]Info) { clear(i); a.Replication = 3 }},
		{"another number of work partitions", func(_ *App, i map[string]Info) {
			i["trailhound.work"] = topicInfo("trailhound.work", 12, 3, i["trailhound.work"].Config)
		}},
		{"another number of state partitions", func(_ *App, i map[string]Info) {
			i["trailhound.state"] = topicInfo("trailhound.state", 1, 3, i["trailhound.state"].Config)
		}},
		{"every setting of the work topic", func(_ *App, i map[string]Info) {
			wrong(i["trailhound.work"].Config, "cleanup.policy", "compact,delete", "message.timestamp.type", "CreateTime", "retention.ms", "604800000", "retention.bytes", "1073741824", "max.message.bytes", "1048588", "unclean.leader.election.enable", "true")
		}},
		{"every setting of the state topic", func(_ *App, i map[string]Info) {
			wrong(i["trailhound.state"].Config, "cleanup.policy", "delete", "delete.retention.ms", "86400000", "max.message.bytes", "1048588", "unclean.leader.election.enable", "true", "min.insync.replicas", "1")
		}},
		{"tombstones that live longer are fine", func(_ *App, i map[string]Info) {
			wrong(i["trailhound.state"].Config, "delete.retention.ms", "1209600000")
		}},
		{"inputs with larger records", func(_ *App, i map[string]Info) {
			wrong(i["cloudtrail"].Config, "max.message.bytes", "10485760")
		}},
		{"one replica in one partition", func(_ *App, i map[string]Info) {
			i["trailhound.state"].Partitions[3].Replicas = make([]int32, 1)
			refresh(i)
		}},
		{"one replica, three configured", func(a *App, i map[string]Info) {
			a.Replication = 3
			i["trailhound.work"] = topicInfo("trailhound.work", 8, 1, i["trailhound.work"].Config)
			i["trailhound.work"].Config["min.insync.replicas"] = "1"
		}},
		{"more in-sync replicas than replicas", func(_ *App, i map[string]Info) {
			i["alerts"] = topicInfo("alerts", 1, 1, i["alerts"].Config)
		}},
		{"outputs with Kafka's defaults", func(_ *App, i map[string]Info) {
			wrong(i["alerts"].Config, "max.message.bytes", "1048588")
			wrong(i["cloudtrail-dead-letter"].Config, "max.message.bytes", "1048588")
		}},
		{"outputs that take next to nothing", func(_ *App, i map[string]Info) {
			wrong(i["alerts"].Config, "max.message.bytes", "8191")
			wrong(i["cloudtrail-dead-letter"].Config, "max.message.bytes", "1000")
		}},
		{"compacted topics", func(_ *App, i map[string]Info) {
			wrong(i["cloudtrail"].Config, "cleanup.policy", "compact")
			wrong(i["alerts"].Config, "cleanup.policy", "compact,delete")
			wrong(i["cloudtrail-dead-letter"].Config, "cleanup.policy", "delete, compact")
		}},
		{"brokers without topic ids", func(_ *App, i map[string]Info) {
			for name, info := range i {
				info.ID = [16]byte{}
				i[name] = info
			}
		}},
	} {
		a := testApp()
		infos := good(a)
		c.change(&a, infos)
		fmt.Fprintf(&b, "# %s\n", c.name)
		for _, p := range a.problems(infos, "127.0.0.1:9092") {
			fmt.Fprintf(&b, "%s (missing: %v, loss: %v)\n", p, p.Missing, p.Loss)
		}
		for _, note := range a.Reduced(infos) {
			fmt.Fprintf(&b, "note: %s\n", note)
		}
		for _, setting := range a.Differing(infos) {
			fmt.Fprintf(&b, "alter: %s\n", setting)
		}
	}
	golden(t, "problems.golden", b.String())
}

func wrong(config map[string]string, settings ...string) {
	for pair := range slices.Chunk(settings, 2) {
		config[pair[0]] = pair[1]
	}
}

func refresh(infos map[string]Info) {
	for name, info := range infos {
		info.Replication = replication(info.Partitions)
		infos[name] = info
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s (-update rewrites it) is\n%s\nwant\n%s", path, got, want)
	}
}
