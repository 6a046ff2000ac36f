package main

import (
	"os"
	"testing"
)

// asProgram, in the environment, makes the test binary the program itself: the tests start it as real processes, which
// are kill -9ed, and which have the race detector when the tests have it.
const asProgram = "TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}
