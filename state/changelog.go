package state

// MetaOf gives the record that PutMeta keeps under name, from a record of the changelog,
// without the shard's local copy. A nil value, also of the result, is a tombstone; the
// result aliases value. Not ok: the record is of another kind or name. A format that this
// build does not know is ErrFormat.
func MetaOf(name string, key, value []byte) (record []byte, ok bool, err error) {
	if len(key) == 0 || key[0] != kindMeta || string(key[1:]) != name {
		return nil, false, nil
	}
	if value == nil {
		return nil, true, nil
	}
	r, err := open(value)
	if err != nil {
		return nil, true, err
	}
	return r.rest(), true, r.close()
}

// SourceOf gives the last source evaluated of an input partition, without its Topic, from a
// record of the changelog. Not ok: the record is of another kind, or a tombstone. A format
// that this build does not know is ErrFormat.
func SourceOf(key, value []byte) (last Source, ok bool, err error) {
	if len(key) == 0 || key[0] != kindSource || value == nil {
		return Source{}, false, nil
	}
	k, err := parseKey(key)
	if err != nil {
		return Source{}, true, err
	}
	s, err := decodeSource(value)
	return Source{TopicID: k.hash, Partition: k.partition, Epoch: s.last.epoch, Offset: s.last.offset, Index: s.last.index}, true, err
}

// Compare orders two sources of one input partition as Tx.Newer does: by leader epoch,
// offset and index, and by offset and index alone where one of the epochs is not known.
func (s Source) Compare(o Source) int { return s.position().compare(o.position()) }

// WorkOf gives the next offset of the work partition, -1: none yet, from a record of the
// changelog. Not ok: the record is no position, or a tombstone. A format that this build
// does not know is ErrFormat.
func WorkOf(key, value []byte) (next int64, ok bool, err error) {
	if len(key) != 1 || key[0] != kindPosition || value == nil {
		return -1, false, nil
	}
	p, err := decodePosition(value)
	return p.work, true, err
}
