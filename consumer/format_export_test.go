package consumer

import (
	"trailhound/rules"
	"trailhound/state"
)

// SetFormats makes s work as a build of another release does.
func (s *Service) SetFormats(writes, reads byte) { s.formats = formats{writes, reads} }

// WorkRecord is a work record of one event as a build that writes this format encodes it.
func WorkRecord(format byte, source state.Source, pair rules.Match, event string) []byte {
	w := work{source: source, recordTime: -1, pairs: []rules.Match{pair}, event: []byte(event)}
	return recordOf(entryWriter{formats: formats{writes: format, reads: format}}, w)
}
