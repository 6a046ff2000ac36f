package kafkatest

import "testing"

// DeleteAtEnd deletes topics that the test has not made itself, such as those
// that the code under test creates, after the test.
func DeleteAtEnd(t testing.TB, brokers []string, topics ...string) {
	t.Helper()
	t.Cleanup(func() {
		for _, name := range topics {
			Delete(t, brokers, name)
		}
	})
}
