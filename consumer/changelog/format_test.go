package changelog

import (
	"errors"
	"flag"
	"fmt"
	"strings"
	"testing"

	"trailhound/consumer/fatal"
	"trailhound/state/formattest"
)

var _ = flag.Bool("update", false, "write the files of new formats")

// Each shard's state carries the identity for the life of the app.
func TestFormatOfIdentity(t *testing.T) {
	id := Identity{
		App: "trail", Shards: 8, Work: Topic{"trail.work", [16]byte{1, 2}}, State: Topic{"trail.state", [16]byte{3, 4}},
		Inputs: []string{"b", "a"}, Alerts: "alerts", DeadLetter: "dead",
	}
	formattest.Written(t, "identity", identityFormat, []formattest.Sample{{Name: "an app's", Bytes: id.Encode()}}, meaning)
	formattest.Read(t, "identity", identityFormat, meaning)
}

func meaning(s formattest.Sample) (string, error) {
	id, err := decodeIdentity(s.Bytes)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%+v", *id), nil
}

// An identity of a newer format is refused by its version alone, and a local copy that has
// one is left to the build that wrote it.
func TestNewerIdentity(t *testing.T) {
	h := shard(t)
	put(t, h, []byte(`{"format":2,"shards":"eight"}`), 5)
	c := &Changelog{Shard: h}
	err := c.discardStale(t.Context(), 100)
	stop, ok := errors.AsType[*fatal.Error](err)
	if !ok || !stop.Newer || !strings.Contains(stop.Sentence, "format 2") || !strings.Contains(stop.Sentence, "formats 1 to 1") {
		t.Errorf("discardStale() with an identity of format 2 = %v; want a *fatal.Error of a newer build that names both", err)
	}
	if at := h.Position(); at.Work != 5 {
		t.Errorf("the copy stands at work offset %d after that; want 5: it is not wiped", at.Work)
	}
	if _, err := Agree(h, &Identity{App: "trail"}, Accept{Change: true, Loss: true}); !errors.As(err, &stop) || !stop.Newer {
		t.Errorf("Agree() with an identity of format 2 = %v; want a *fatal.Error of a newer build", err)
	}
}
