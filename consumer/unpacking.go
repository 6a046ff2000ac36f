package consumer

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

const unpackingFile = "unpacking.json"

// errProcessEnded is the reason for not unpacking a record or a batch.
var errProcessEnded = errors.New("the process has ended twice while it was unpacked")

// Unpacking is a note on disk of the large record that is being unpacked. A process that
// ends meanwhile, as in a cgroup without memory, leaves the note to its next start: a
// record that was found twice becomes a dead letter without being unpacked, so that it
// cannot end every process that takes its partition, for ever. The note is written for
// large records alone, one at a time, and survives the end of the process, not that of the
// machine. A nil *Unpacking notes nothing.
type Unpacking struct {
	path    string
	givesUp bool // on a suspect read at the start

	mu       sync.Mutex
	suspects []suspect // newest last
	size     int       // of the file
	failed   error     // of the last write
}

// suspect is a place in the input that was being unpacked when the process ended.
type suspect struct {
	Topic     string `json:"topic_id"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"` // of the record, or the first one of the batch
	Next      int64  `json:"next"`   // offset behind it
	Ends      int    `json:"ends"`   // ends of the process meanwhile
	Open      bool   `json:"open"`   // it is being unpacked
}

func (s *suspect) same(o *suspect) bool {
	return s.Topic == o.Topic && s.Partition == o.Partition && s.Offset == o.Offset && s.Next == o.Next
}

// OpenUnpacking reads the note in a directory. A place that was being unpacked counts the
// end of the last process.
func OpenUnpacking(dir string) (*Unpacking, error) {
	u := &Unpacking{path: filepath.Join(dir, unpackingFile)}
	text, err := os.ReadFile(u.path)
	if errors.Is(err, os.ErrNotExist) {
		return u, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the note of what is being unpacked: %w", err)
	}
	u.size = len(text)
	if json.Unmarshal(text, &u.suspects) != nil {
		u.suspects = nil // the process ended while it was written
	}
	for i := range u.suspects {
		if s := &u.suspects[i]; s.Open {
			s.Open = false
			s.Ends++
		}
		u.givesUp = u.givesUp || u.suspects[i].Ends >= mostEnds
	}
	return u, u.write()
}

// place names offsets of an input.
func place(in *input, offset, next int64) suspect {
	return suspect{Topic: hex.EncodeToString(in.topicID[:]), Partition: in.partition, Offset: offset, Next: next}
}

// begin notes a place before it is unpacked. It fails with errProcessEnded, and notes
// nothing, when the place has ended the process too often.
func (u *Unpacking) begin(at suspect) error {
	if u == nil {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closeAll()
	if i := slices.IndexFunc(u.suspects, func(s suspect) bool { return s.same(&at) }); i >= 0 {
		if u.suspects[i].Ends >= mostEnds {
			return errProcessEnded
		}
		at.Ends = u.suspects[i].Ends
		u.suspects = slices.Delete(u.suspects, i, i+1)
	}
	at.Open = true
	u.suspects = append(u.suspects, at)
	if n := len(u.suspects) - mostSuspects; n > 0 {
		u.suspects = slices.Delete(u.suspects, 0, n)
	}
	u.failed = u.write()
	return nil
}

// end notes that the place last begun has been unpacked.
func (u *Unpacking) end() {
	if u == nil {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closeAll() {
		u.failed = u.write()
	}
}

// closeAll forgets the places that are open: they have not ended the process.
func (u *Unpacking) closeAll() bool {
	n := len(u.suspects)
	u.suspects = slices.DeleteFunc(u.suspects, func(s suspect) bool { return s.Open })
	return len(u.suspects) < n
}

// givenUp says whether a place has ended the process too often.
func (u *Unpacking) givenUp(at suspect) bool {
	if u == nil {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.ContainsFunc(u.suspects, func(s suspect) bool { return s.same(&at) && s.Ends >= mostEnds })
}

// watches says whether givenUp may be true of any place.
func (u *Unpacking) watches() bool { return u != nil && u.givesUp }

// write overwrites the note in place, with blanks behind it: each of a thousand large records
// in a batch has a note, and a file that is truncated first costs ext4 a write to the disk
// (ext4(5), auto_da_alloc), some milliseconds with the turn held.
func (u *Unpacking) write() error {
	text, err := json.Marshal(u.suspects)
	if err != nil {
		return err
	}
	text = append(text, bytes.Repeat([]byte(" "), max(u.size-len(text), 0))...)
	file, err := os.OpenFile(u.path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(text, 0)
	u.size = max(u.size, len(text))
	return errors.Join(err, file.Close())
}

// err returns why the last note was not written; nil: it was.
func (u *Unpacking) err() error {
	if u == nil {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.failed
}
