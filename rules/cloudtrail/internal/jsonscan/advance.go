package jsonscan

import "unsafe"

// position is where a scan is while all goes as predicted.
type position struct {
	i     int    // offset
	start int    // of the value at hand; of a string, behind its quote
	high  uint64 // a high bit is set if a byte above 0x7f was met
	at    uint16 // node
	want  Field  // member to which the value at hand belongs
}

// Reasons for which advance stops. Each is a label of Scanner.Value.
const (
	stopText    = iota // inside a string, near the end of the input
	stopClosing        // inside a string, at a backslash or at a byte that may not be there
	stopQuote          // at the closing quote of a member that is not noted like the others
	stopNext           // behind a value or an opening bracket
	stopValue          // where a value begins
)

// The assembly takes the names and offsets of fields from these types, and counts on the
// rest: sizes that it multiplies by, widths that it loads and stores, and orders.
const (
	_ = -uint(unsafe.Sizeof(node{}) ^ 64)             // SHLQ $6
	_ = -uint(unsafe.Offsetof(node{}.transition))     // a node begins with its transition
	_ = -uint(unsafe.Sizeof(Span{}) ^ 8)              // fields + 8 * field
	_ = -uint(unsafe.Offsetof(Span{}.Start))          // MOVL to 0
	_ = -uint(unsafe.Offsetof(Span{}.End) ^ 4)        // MOVL to 4
	_ = -uint(unsafe.Sizeof(transition{}.bytes) ^ 32) // one register of AVX2
	_ = -uint(maxTransition ^ 32)                     // the bits of a mask of its bytes
	_ = -uint(unsafe.Sizeof(transition{}.to) ^ 2)     // MOVWLZX
	_ = -uint(unsafe.Sizeof(position{}.at) ^ 2)       // MOVW
	_ = -uint(unsafe.Sizeof(position{}.want) ^ 1)     // MOVB
	_ = -uint(unsafe.Sizeof(node{}.object) ^ 2)       // MOVWLZX
	_ = -uint(unsafe.Sizeof(node{}.array) ^ 2)        // MOVWLZX
	_ = -uint(unsafe.Sizeof(FieldRange{}) ^ 2)        // inside + 2 * object
	_ = uint(NumFields - FirstWhole)                  // strings, then whole values,
	_ = uint(FirstObject - NumFields)                 // then objects
	_ = uint8(FirstObject + MaxObjects)               // in a byte
)
