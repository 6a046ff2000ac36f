package changelog

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"trailhound/consumer/fatal"
	"trailhound/consumer/kafka/topic"
	"trailhound/state"
)

// identityName is the name under which a shard's state holds its identity.
const identityName = "identity"

// identityFormat is the version of the identity record itself.
const identityFormat = 1

// Topic is a topic by name and id: a topic that is made again has another id.
type Topic struct {
	Name string
	ID   [16]byte
}

// Identity is the configuration that all members of an app must agree on. It is stored in
// the changelog, so that a member with another one finds out before it evaluates anything
// (PROTOCOL D10).
type Identity struct {
	App        string
	Shards     int
	Work       Topic
	State      Topic
	Inputs     []string
	Alerts     string
	DeadLetter string
}

// Identify returns the identity of an app by its topics. A topic that is missing has no id.
func Identify(app *topic.App, infos map[string]topic.Info) Identity {
	work, changes := app.WorkTopic(), app.StateTopic()
	return Identity{
		App: app.ID, Shards: app.Shards, Inputs: app.Inputs, Alerts: app.Alerts, DeadLetter: app.DeadLetter,
		Work: Topic{work, infos[work].ID}, State: Topic{changes, infos[changes].ID},
	}
}

// identityRecord is the stored form of an Identity.
type identityRecord struct {
	Format     int      `json:"format"`
	App        string   `json:"app_id"`
	Shards     int      `json:"shards"`
	Work       string   `json:"work"`
	WorkID     string   `json:"work_id"`
	State      string   `json:"state"`
	StateID    string   `json:"state_id"`
	Inputs     []string `json:"inputs"`
	Alerts     string   `json:"alerts"`
	DeadLetter string   `json:"dead_letter"`
}

// Encode returns the stored form: the same identity, the same bytes.
func (id *Identity) Encode() []byte {
	inputs := slices.Clone(id.Inputs)
	slices.Sort(inputs)
	b, err := json.Marshal(identityRecord{
		Format: identityFormat, App: id.App, Shards: id.Shards,
		Work: id.Work.Name, WorkID: hex.EncodeToString(id.Work.ID[:]),
		State: id.State.Name, StateID: hex.EncodeToString(id.State.ID[:]),
		Inputs: inputs, Alerts: id.Alerts, DeadLetter: id.DeadLetter,
	})
	if err != nil {
		panic("identity: marshal plain strings: " + err.Error())
	}
	return b
}

func decodeIdentity(b []byte) (*Identity, error) {
	var version struct {
		Format int `json:"format"`
	}
	var r identityRecord
	err := json.Unmarshal(b, &version) // alone: a newer format may have other types for the rest
	switch {
	case version.Format > identityFormat:
		return nil, fatal.ByNewer("the changelog's identity record has format %d, this build reads formats 1 to %d: run the build that wrote it, or a newer one (readers are deployed before writers)", version.Format, identityFormat)
	case err == nil && version.Format < 1:
		err = fmt.Errorf("its format is %d, the first one is 1", version.Format)
	case err == nil:
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		return nil, fatal.Errorf("the identity record of the state cannot be read (%v): find out who else writes to the changelog", err)
	}
	id := &Identity{App: r.App, Shards: r.Shards, Inputs: r.Inputs, Alerts: r.Alerts, DeadLetter: r.DeadLetter}
	id.Work.Name, id.State.Name = r.Work, r.State
	if err := decodeID(&id.Work.ID, r.WorkID); err != nil {
		return nil, err
	}
	return id, decodeID(&id.State.ID, r.StateID)
}

func decodeID(into *[16]byte, s string) error {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(into) {
		return fatal.Errorf("the identity record of the state cannot be read (%q is no topic id): find out who else writes to the changelog", s)
	}
	copy(into[:], b)
	return nil
}

// readIdentity returns the identity in the local copy; nil: it has none yet.
func readIdentity(h *state.Shard) (*Identity, error) {
	b, err := h.Meta(identityName)
	if err != nil || b == nil {
		return nil, err
	}
	return decodeIdentity(b)
}

// Accept holds the differences that the operator allows in this run.
type Accept struct {
	Change bool // other topics for input, alerts and dead letters (--accept-change)
	Loss   bool // a work topic or a changelog that was made again, and the loss of its records (--accept-loss)
}

// Agreement is the outcome of comparing identities.
type Agreement struct {
	Write   bool // the identity record is new or has changed, and has to be written
	NewWork bool // the work topic was made again: its offsets start over
}

// Agree compares the identity in the shard's state with the member's own. A
// difference that was not accepted is a *fatal.Error that names the key. App id and
// shard count are fixed for the life of an app id.
func Agree(h *state.Shard, own *Identity, accept Accept) (Agreement, error) {
	if seeding, err := Seeding(h); err != nil {
		return Agreement{}, err
	} else if seeding {
		return Agreement{}, stopSeeding(own)
	}
	old, err := readIdentity(h)
	if err != nil {
		return Agreement{}, err
	}
	if old == nil {
		// The first transaction of an app writes the identity, so only a changelog
		// that lost its beginning has a position and no identity.
		if at := h.Position().Work; at >= 0 && !accept.Loss {
			return Agreement{}, fatal.Errorf("the changelog %s stands at work offset %d, but its beginning is missing: it was deleted and made again while the app was running; start a new app_id, restore the topic from a backup, or start once with --accept-loss to go on with what is left of the state", own.State.Name, at)
		}
		return Agreement{Write: true}, nil
	}
	return compare(old, own, accept)
}

// compare returns the Agreement of the stored identity with the member's own, or a *fatal.Error
// that names the first difference that was not accepted.
func compare(old, own *Identity, accept Accept) (Agreement, error) {
	switch {
	case old.App != own.App:
		return Agreement{}, fatal.Errorf("the changelog %s belongs to app_id %q, not to %q: each app needs topics of its own", own.State.Name, old.App, own.App)
	case old.Shards != own.Shards:
		return Agreement{}, fatal.Errorf("shards is %d here, but app %s was made with %d: shards are fixed for the life of an app_id; set shards back, or start a new app_id", own.Shards, own.App, old.Shards)
	}
	out := Agreement{NewWork: old.Work.ID != own.Work.ID}
	if out.NewWork && !accept.Loss {
		return Agreement{}, fatal.Errorf("the work topic %s was deleted and made again: matched events that waited in it are lost; start a new app_id, or start once with --accept-loss to go on without them", own.Work.Name)
	}
	key, was, is := firstChange(old, own)
	if key != "" && !accept.Change {
		return Agreement{}, fatal.Errorf("%s is %s here, but %s in the state of app %s: set it back, or start once with --accept-change to go on with the new value", key, is, was, own.App)
	}
	// A changelog restored from a backup is another topic with the same contents.
	// Unless that is noted, each take would throw the local copy away.
	out.Write = out.NewWork || key != "" || old.State.ID != own.State.ID
	return out, nil
}

// Put writes the identity into the transaction's state changes.
func (id *Identity) Put(tx *state.Tx) { tx.PutMeta(identityName, id.Encode()) }

func firstChange(old, own *Identity) (key, was, is string) {
	a, b := slices.Clone(old.Inputs), slices.Clone(own.Inputs)
	slices.Sort(a)
	slices.Sort(b)
	switch {
	case !slices.Equal(a, b):
		return "topics.input", quoteAll(a), quoteAll(b)
	case old.Alerts != own.Alerts:
		return "topics.alerts", quoteAll([]string{old.Alerts}), quoteAll([]string{own.Alerts})
	case old.DeadLetter != own.DeadLetter:
		return "topics.dead_letter", quoteAll([]string{old.DeadLetter}), quoteAll([]string{own.DeadLetter})
	}
	return "", "", ""
}

func quoteAll(names []string) string { return "[" + strings.Join(names, ", ") + "]" }
