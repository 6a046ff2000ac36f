package replay

import (
	"fmt"

	"trailhound/consumer/kafka/wire"
)

// readAhead holds copies of the next records of a large batch. A batch in memory that other
// streams may wait for is open only while some of its records are copied: all streams have a
// record at hand at the same time, and each could have such a batch. The zero value is empty.
type readAhead struct {
	records []wire.Record // without keys and headers
	data    []byte
	at      int  // of records, behind the one at hand
	later   bool // the record at hand is alone, and too large to be copied: it is read when its turn comes
}

func (a *readAhead) clear() { *a = readAhead{records: a.records[:0], data: a.data[:0]} }

// next goes on to the next record; false: there is none.
func (a *readAhead) next() bool {
	if a.at == len(a.records) {
		a.clear()
		return false
	}
	a.at++
	return true
}

// record is the one at hand.
func (a *readAhead) record() *wire.Record { return &a.records[a.at-1] }

// add copies a record, unless it would not fit; the first one fits always, if need be without
// its value.
func (a *readAhead) add(r *wire.Record, most int) bool {
	switch first := len(a.records) == 0; {
	case a.later || !first && len(a.data)+len(r.Value) > most:
		return false
	case first && len(r.Value) > most:
		a.later = true
		a.records = append(a.records, wire.Record{Offset: r.Offset, Timestamp: r.Timestamp})
		return true
	}
	kept := wire.Record{Offset: r.Offset, Timestamp: r.Timestamp}
	if r.Value != nil {
		if a.data == nil {
			a.data = make([]byte, 0, most)
		}
		start := len(a.data)
		a.data = append(a.data, r.Value...)
		kept.Value = a.data[start:len(a.data):len(a.data)]
	}
	a.records = append(a.records, kept)
	return true
}

// readAhead copies the record at hand of a large batch, and as many of those behind it as a
// stream may hold, and closes the batch.
func (s *stream) readAhead() {
	most := s.reader.Client.Memory.Share()
	s.ahead.clear()
	next := s.cursor.Record.Offset
	for more := true; more && s.cursor.Record.Offset < s.To && s.ahead.add(&s.cursor.Record, most); {
		if !s.ahead.later {
			next = s.cursor.Record.Offset + 1
		}
		more = s.cursor.Next() && s.cursor.Held()
	}
	s.cursor.Close()
	s.now.Skip(next)
	s.cursor = s.now.Cursor() // damage ends it at the same place as the old one
}

// whole returns the record at hand with its value.
func (s *stream) whole() (*wire.Record, error) {
	if !s.ahead.later {
		return s.record, nil
	}
	s.ahead.clear()
	if !s.cursor.Next() || s.cursor.Record.Offset != s.record.Offset {
		return nil, fmt.Errorf("read %s partition %d: the record at offset %d is not what it was", s.Topic, s.Partition, s.record.Offset)
	}
	s.record = &s.cursor.Record
	return s.record, nil
}
