package cloudtrail

// record is the record at hand: its outcomes so far, and the memory and bytes used for it.
type record struct {
	yield func(*Event, error) bool
	index int          // events and errors so far
	fails int          // errors so far
	note  *DecodeError // an error that may turn out to be all there is to the record

	spent     int64 // bytes that came out of gzip and were passed
	held      int64 // unpacked bytes that are being read
	inflating int   // gzip files that are being read
	exhausted bool  // gzip has given more than it may
	unpacked  bool  // a layer was needed
	turn      bool  // Decoder.Turn is locked
	stopped   bool  // Decoder.Turn was refused
}

func (r *record) begin(yield func(*Event, error) bool) { *r = record{yield: yield} }

// hold takes note of the error about a value that is no event; nil: there is none. It is
// yielded when the next outcome, or the end of the record, shows whether it is alone. hold
// returns false to stop, as all the methods below do.
func (r *record) hold(err *DecodeError) bool {
	if r.stopped || err != nil && !r.flush() {
		return false
	}
	if err == nil {
		return true
	}
	err.Index, r.note = r.index, err
	return r.count()
}

// reject yields an error about an event.
func (r *record) reject(err *DecodeError) bool {
	if r.stopped || !r.flush() {
		return false
	}
	err.Index = r.index
	return r.yield(nil, err) && r.count()
}

// accept yields an event.
func (r *record) accept(e *Event) bool {
	if r.stopped || r.note != nil && !r.flush() {
		return false
	}
	e.At.Index = int32(r.index)
	r.index++
	return r.yield(e, nil)
}

// count counts an error, and ends the record with another when there are too
// many.
func (r *record) count() bool {
	r.index++
	r.fails++
	if r.fails < maxErrors {
		return true
	}
	if r.flush() {
		err := problem(ReasonTooManyErrors, "more than %d errors; the rest of the record was not read", maxErrors)
		err.Index = r.index
		r.yield(nil, err)
	}
	return false
}

// flush yields the error that is held, if there is one.
func (r *record) flush() bool {
	err := r.note
	if err == nil {
		return true
	}
	r.note = nil
	return r.yield(nil, err)
}

// finish yields the error that is still held. If the record had no other outcome, the error
// concerns the record as a whole.
func (r *record) finish() {
	if r.note != nil && r.index == 1 {
		r.note.Index = -1
	}
	r.flush()
}
