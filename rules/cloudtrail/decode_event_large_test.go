package cloudtrail

import (
	"fmt"
	"runtime"
	"testing"
)

// An event that is too large is rejected by itself, packed or not: the strings that rules
// look up in it were copied without a bound, once for each string that they lie in.
func TestDecodeEventTooLarge(t *testing.T) {
	const mib = 1 << 20
	large := func(size int) string {
		return `{"requestParameters":{"x":"` + repeat("y", size) + `"},` + bare("large")[1:]
	}
	for _, c := range []struct {
		held int64
		size int
		want string
	}{
		{0, 2*mib - 200, "[a large b]"},
		{0, 2 * mib, "[a 1 event_too_large b]"},
		{128 * mib, 4*mib - 200, "[a large b]"},
		{128 * mib, 4 * mib, "[a 1 event_too_large b]"},
		{mib, mib - 200, "[a large b]"}, // as large as those of CloudTrail, however small MaxHeld is
		{4 * mib, mib, "[a 1 event_too_large b]"},
	} {
		for name, record := range map[string]string{
			"lines": bare("a") + "\n" + large(c.size) + "\n" + bare("b"),
			"list":  `{"Records":[` + bare("a") + "," + large(c.size) + "," + bare("b") + "]}",
			"logs":  `{"messageType":"DATA_MESSAGE","logEvents":[{"message":` + wrapped(bare("a"), 1) + `},{"message":` + wrapped(large(c.size), 1) + `},{"message":` + wrapped(bare("b"), 1) + "}]}",
		} {
			d := Decoder{MaxHeld: c.held}
			var got []string
			d.Decode([]byte(record), func(e *Event, err error) bool {
				got = append(got, brief(e, err))
				return true
			})
			if fmt.Sprint(got) != c.want {
				t.Errorf("with MaxHeld %d, Decode of %s with an event of %d bytes = %v; want %s", c.held, name, c.size, got, c.want)
			}
		}
	}
}

// Strings looked up in an event with members that are strings in strings stay in the turn,
// and within a few times the event.
func TestDecodeLookups(t *testing.T) {
	const kib = 1 << 10
	var turn counted
	d := Decoder{Turn: &turn}
	for _, c := range []struct {
		size int
		turn bool
	}{{10 * kib, false}, {200 * kib, true}} {
		turn = counted{}
		record := deepIdentity(repeat(`\u00e9`, c.size/6), repeat(`\u00e9`, c.size/6))
		got := ""
		most := allocated(func() {
			d.Decode([]byte(record), func(e *Event, err error) bool {
				got = brief(e, err)
				role := e.RequestParameter("roleArn")
				arn, _ := e.Lookup("userIdentity", "sessionContext", "sessionIssuer", "arn")
				runtime.KeepAlive([]string{role, arn})
				return true
			})
		})
		if got != "a" || turn.locks > 0 != c.turn || turn.locks != turn.unlocks {
			t.Errorf("Decode of an event of %d bytes = %s, the turn was taken %d times and given back %d times; want it taken: %t", len(record), got, turn.locks, turn.unlocks, c.turn)
		}
		if want := int64(DefaultScratch + 12*lookupLayers*len(record)); most > want {
			t.Errorf("Decode and look-ups in an event of %d bytes allocate %d; want at most %d", len(record), most, want)
		}
	}
}

// A name that is not wanted was copied when it had escapes in it, at any length.
func TestLookupPassesOverLongNames(t *testing.T) {
	e := Event{Raw: []byte(`{"` + repeat(`\n`, 1<<20) + `":1,"\u0061":"b"}`)}
	var got string
	if n := allocated(func() { got, _ = e.Lookup("a") }); got != "b" || n > 1<<20 {
		t.Errorf("Lookup = %q and allocates %d bytes; want b without a copy of the name beside it", got, n)
	}
}

type refused struct{ asked int }

func (r *refused) Unlock() {}
func (r *refused) Lock() bool {
	r.asked++
	return false
}

// A decoder that is refused its turn stops, at any place in a record: it holds nothing
// large, and reports nothing of the bytes that it has not read.
func TestDecodeTurnRefused(t *testing.T) {
	const kib = 1 << 10
	text := repeat(" ", 600*kib) + bare("b")
	for name, record := range map[string]string{
		"a value in gzip":        zipped(bare("a") + "\n" + wrapped(text, 1) + bare("c")),
		"a string":               bare("a") + wrapped(text, 1) + bare("c"),
		"base64":                 bare("a") + "\n" + base64ed(stored(text)) + "\n" + bare("c"),
		"gzip in a list":         `{"Records":[` + bare("a") + "," + wrapped(base64ed(zipped(zipped(bare("b")))), 1) + "," + bare("c") + "]}",
		"gzip in an array":       `{"x":1,"Records":[` + bare("a") + "," + wrapped(base64ed(zipped(wrapped(text, 1))), 1) + "," + bare("c") + "]}",
		"a field":                bare("a") + `{"errorMessage":"` + repeat(`\n`, 600*kib) + `",` + bare("b")[1:] + bare("c"),
		"text in a userIdentity": bare("a") + deepIdentity(repeat("x", 200*kib), "x") + bare("c"),
		"an envelope":            bare("a") + `{"detail":{},"detail-type":"` + repeat(`\n`, 600*kib) + `"}` + bare("c"),
	} {
		var turn refused
		d := Decoder{Turn: &turn}
		var got []string
		whole := []byte(record)
		most := allocated(func() {
			d.Decode(whole, func(e *Event, err error) bool {
				got = append(got, brief(e, err))
				return true
			})
		})
		if fmt.Sprint(got) != "[a]" || turn.asked != 1 {
			t.Errorf("%s: Decode = %v and asks for the turn %d times; want [a], and to stop when it is refused", name, got, turn.asked)
		}
		if most > 2*DefaultScratch+200*kib {
			t.Errorf("%s: Decode without the turn allocates %d bytes", name, most)
		}
		got = nil
		d.Decode([]byte(bare("next")), func(e *Event, err error) bool {
			got = append(got, brief(e, err))
			return true
		})
		if fmt.Sprint(got) != "[next]" || d.kept() > DefaultScratch {
			t.Errorf("%s: the next Decode = %v with %d bytes kept; want the next event", name, got, d.kept())
		}
	}
}
