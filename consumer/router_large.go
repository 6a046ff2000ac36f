package consumer

// leastNoted is how large a record of a large batch is that is noted by itself.
const leastNoted = 256 << 10

// beginBatch notes the large batch that is about to be unpacked.
func (r *router) beginBatch(offset, next int64) error {
	return r.unpacking.begin(place(&r.in, offset, next))
}

// beginRecord notes the record at hand, which is large.
func (r *router) beginRecord() {
	_ = r.unpacking.begin(place(&r.in, r.at.Offset, r.at.Offset+1)) // not given up: else it would not be decoded
	if err := r.unpacking.err(); err != nil {
		r.log.Warn().Err(err).Str("event", "unpacking_not_noted").Msg("the large record at hand is not noted in state_dir; should it end the process, the next start reads it again")
	}
}

// decoderTurn is the router's turn for its decoder. The record at hand is not routed to its end
// when the run ends while it is waited for.
type decoderTurn router

func (r *decoderTurn) Lock() bool {
	if r.turn.Lock() {
		return true
	}
	if r.err == nil {
		r.err = r.ctx.Err()
	}
	return false
}

func (r *decoderTurn) Unlock() { r.turn.Unlock() }

// beat notes progress, for those too that wait for the memory of the record at hand.
func (r *router) beat() {
	r.progress.pulse.beat()
	r.turn.Beat()
}

// release lets go of the last event, whose strings are part of what its record was unpacked
// to: thousands of idle routers must not keep a large record each.
func (r *router) release() {
	r.work.event = nil
	clear(r.work.pairs[:cap(r.work.pairs)])
	clear(r.matches[:cap(r.matches)])
}
