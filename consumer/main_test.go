package consumer_test

import (
	"flag"
	"os"
	"strconv"
	"testing"

	"trailhound/consumer/internal/kafkatest"
	"trailhound/consumer/internal/race"
)

// Tests that run side by side. Most wait for sessions and time-outs of brokers, and need little
// of a processor: with as many as there are processors, which is the default, these stand idle.
const sideBySide = 16

// full is whether the tests of many seeds, codes and moments take all of them, and minutes, as
// CI does, or else a sample.
var full = os.Getenv("TRAILHOUND_TEST_FULL") != ""

func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if n := sideBySide; !given {
		if race.Enabled || os.Getenv(kafkatest.Env) != "" {
			n /= 4 // the race detector and a real broker keep the processors busy
		}
		if err := flag.Set("test.parallel", strconv.Itoa(n)); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}
