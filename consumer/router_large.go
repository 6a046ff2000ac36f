package consumer

// beginBatch notes the large batch that is about to be unpacked.
func (r *router) beginBatch(offset, next int64) error {
	return r.unpacking.begin(place(&r.in, offset, next))
}

// beginRecord notes the record at hand, which is large.
func (r *router) beginRecord() {
	_ = r.unpacking.begin(place(&r.in, r.at.Offset, r.at.Offset+1)) // cannot be given up: the caller has asked
	if err := r.unpacking.err(); err != nil {
		r.log.Warn().Err(err).Str("event", "unpacking_not_noted").Msg("the large record at hand is not noted in state_dir; should it end the process, the next start reads it again")
	}
}

// decoderTurn is the router's turn for its decoder. A run that ends while the decoder waits
// for the turn leaves the record at hand unfinished, with an error in err.
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

// beat notes progress, also for the routers that wait for the memory of the record at hand.
func (r *router) beat() {
	r.progress.pulse.beat()
	r.turn.Beat()
}

// release drops the last event, with strings that alias its unpacked record: thousands of
// idle routers must not keep a large record each.
func (r *router) release() {
	r.work.event = nil
	clear(r.work.pairs[:cap(r.work.pairs)])
	clear(r.matches[:cap(r.matches)])
}
