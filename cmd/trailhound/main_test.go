package main

import (
	"os"
	"testing"

	"trailhound/rules"
)

// asProgram, in the environment, makes the test binary the program itself. The tests start
// it as real processes: to kill them with -9, and with the race detector where the tests
// have it.
const asProgram = "TEST_AS_PROGRAM"

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
