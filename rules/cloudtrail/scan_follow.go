package cloudtrail

// minFollow is how many bytes there must be from where follow is to begin: so
// many it loads at a time.
const minFollow = maxStep

// maxFollow is how many bytes follow is given at a time. The runtime cannot
// interrupt it, and while it waits to do so everybody waits; this takes it a fraction
// of a millisecond.
const maxFollow = 1 << 20

// run is where a scan is while it meets what it has foreseen.
type run struct {
	i     int    // offset
	start int    // of the value at hand; of a string, behind its quote
	high  uint64 // a high bit is set if a byte above 0x7f was met
	at    uint16 // place
	want  field  // member whose value is at hand
}

// Why follow stops. Each is a label of scanner.value.
const (
	stopText    = iota // inside a string, near the end of the input
	stopClosing        // inside a string, at a backslash or at what may not be there
	stopQuote          // at the closing quote of a member that is not noted like the others
	stopNext           // behind a value or an opening bracket
	stopValue          // where a value begins
)
