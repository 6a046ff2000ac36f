package main

import (
	"os"
	"testing"

	"trailhound/rules"
)

// asProgram, in the environment, makes the test binary the program itself: the tests start it as real processes, which
// are kill -9ed, and which have the race detector when the tests have it.
const asProgram = "TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	builtin = twoRules
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// twoRules are the rules whose results the tests compare; rules/README.md tells to add others to the list of this build.
func twoRules() []rules.Spec {
	return []rules.Spec{
		{ID: rules.AccessDeniedID, New: func() rules.Rule { return rules.NewAccessDenied() }},
		{ID: rules.AssumeRoleUniqueIPID, New: func() rules.Rule { return rules.NewAssumeRoleUniqueIP() }},
	}
}
