// Package fatal has the error that ends an instance. It stands on nothing, so that every
// room can return one and tell one apart.
package fatal

import "fmt"

// Error is a finding that no repetition mends: the instance must stop and
// say why, rather than go on with state that is not the truth.
type Error struct {
	Sentence string // names the thing and the way out
	Newer    bool   // a newer build has written the records: another instance may well go on
}

func (e *Error) Error() string { return e.Sentence }

// Errorf returns an Error with a sentence of the given format.
func Errorf(format string, args ...any) *Error { return &Error{Sentence: fmt.Sprintf(format, args...)} }

// ByNewer is Errorf for records that a newer build has written.
func ByNewer(format string, args ...any) *Error {
	return &Error{Sentence: fmt.Sprintf(format, args...), Newer: true}
}
