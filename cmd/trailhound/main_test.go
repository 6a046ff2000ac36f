package main

import (
	"flag"
	"os"
	"strconv"
	"testing"

	"trailhound/rules"
)

// asProgram, in the environment, makes the test binary the program itself. The tests start
// it as real processes: to kill them with -9, and with the race detector where the tests
// have it.
const asProgram = "TEST_AS_PROGRAM"

// sideBySide is how many tests run at the same time. Those that do so wait for groups, sessions
// and time-outs more than they compute. Tests with a bound on time or on the memory of a
// container, in a directory or an environment of their own, or with another number of
// processors run one after the other, before these.
const sideBySide = 8

// full is whether tests with large inputs take all of them, and minutes, as CI does, or fewer.
var full = os.Getenv("TRAILHOUND_TEST_FULL") != ""

// sized returns the size of an input: all where the tests are full, else few.
func sized(few, all int) int {
	if full {
		return all
	}
	return few
}

func TestMain(m *testing.M) {
	builtin = twoRules
	if os.Getenv(asProgram) != "" {
		main()
	}
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if n := sideBySide; !given {
		if underRace || realKafka() != nil {
			n /= 4 // the race detector and a real broker keep the processors busy
		}
		if err := flag.Set("test.parallel", strconv.Itoa(n)); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// twoRules are the rules with results that the tests compare; rules/README.md tells to add
// others to the list of this build.
func twoRules() []rules.Spec {
	return []rules.Spec{
		{ID: rules.AccessDeniedID, New: func() rules.Rule { return rules.NewAccessDenied() }},
		{ID: rules.AssumeRoleUniqueIPID, New: func() rules.Rule { return rules.NewAssumeRoleUniqueIP() }},
	}
}
