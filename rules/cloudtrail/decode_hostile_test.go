package cloudtrail

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"runtime"
	"testing"
	"time"
)

// packings wrap a record in another layer.
var packings = [...]func(string) string{
	func(s string) string { // a string
		b, err := json.Marshal(s)
		must(err)
		return string(b)
	},
	zipped,
	func(s string) string { return base64ed(zipped(s)) + "\n" },
	func(s string) string { return `{"Records":[` + s + "," + bare("in a list") + "]}" },
	func(s string) string { return "[" + s + "]" },
	func(s string) string { return `{"messageType":"DATA_MESSAGE","logEvents":[{"message":` + s + "}]}" },
	func(s string) string { return `{"detail-type":"x","source":"aws.sts","detail":` + s + "}" },
	func(s string) string { return `{"Type":"Notification","Message":` + s + "}" },
	func(s string) string { return `{"Records":[{"eventSource":"aws:sqs","body":` + s + "}]}" },
	func(s string) string { return `{"errorMessage":` + s + "," + bare("around")[1:] },
	func(s string) string { return s + "\n" + s },
	func(s string) string { return repeat(s+",", 20) + s },
	func(s string) string { return repeat(" \n", 40_000) + s },
	func(s string) string { return s + repeat("\x00", 3000) + zipped(s) },
	func(s string) string { return `"` + repeat("\xff", 30_000) + `",` + s },
	func(s string) string { return s[:len(s)*9/10] },
	func(s string) string { return stored(s) },
}

// stored returns s as gzip that is not compressed.
func stored(s string) string {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.NoCompression)
	must(err)
	_, err = w.Write([]byte(s))
	must(err)
	must(w.Close())
	return b.String()
}

// hostileLimits are those of the decoder that FuzzHostile gives records to.
const (
	hostileUnpacked = 8 << 20
	hostileHeld     = 1 << 20
	hostileScratch  = 32 << 10
)

// hostileMost is how many bytes a record may take while it is read. The held bytes take
// twice as much while a buffer grows; the rest is the scanner's notes on the depth of
// brackets, the state of gzip in gzip, errors, and the strings looked up in an event of
// MaxHeld.
func hostileMost(record int) uint64 {
	return (3+3*lookupLayers)*hostileHeld + 16*hostileScratch + 9*(64<<10) + 4<<20 + uint64(record)
}

// FuzzHostile gives a decoder records with envelopes in envelopes, strings in gzip in
// strings, under a bound of the live memory at any time and of the time it takes.
func FuzzHostile(f *testing.F) {
	for i, c := range envelopes {
		if i%4 == 0 {
			f.Add([]byte(c.record), []byte{byte(i), byte(i / 3), byte(i * 7)})
		}
	}
	f.Add([]byte(repeat(" ", 1<<20)+bare("a")), []byte{0, 0, 0, 0, 0, 0, 0, 1})
	f.Add([]byte(bare("a")), []byte{12, 1, 12, 1, 12, 1, 12, 1})
	f.Add([]byte(bare("a")), []byte{2, 11, 1, 2, 11, 1, 2, 11, 1})
	f.Add([]byte(deepIdentity(repeat("\xff", 100<<10), "x")), []byte{1})
	f.Fuzz(func(t *testing.T, b, wraps []byte) {
		record := string(b)
		for _, w := range wraps {
			if len(wraps) > 12 || len(record) > 1<<20 {
				return
			}
			record = packings[int(w)%len(packings)](record)
		}
		if record == "" {
			return
		}
		var turn counted
		d := Decoder{MaxUnpacked: hostileUnpacked, MaxHeld: hostileHeld, Scratch: hostileScratch, Turn: &turn}
		peak, calls, began := uint64(0), 0, time.Now()
		base := live()
		d.Decode([]byte(record), func(e *Event, err error) bool {
			var kept [3]string
			if e != nil {
				e.Principal()
				kept[0] = e.RequestParameter("roleArn")
				kept[1], _ = e.Lookup("userIdentity", "sessionContext", "sessionIssuer", "arn")
				kept[2], _ = e.Lookup("userAgent")
			}
			if calls++; calls == 1 || calls == 100 || calls == 20_000 {
				peak = max(peak, live())
			}
			runtime.KeepAlive(kept)
			return true
		})
		if most := hostileMost(len(record)); peak > base && peak-base > most {
			t.Errorf("Decode of %d bytes in %v holds %d KiB; want at most %d", len(record), wraps, (peak-base)>>10, most>>10)
		}
		// A pass over all that is unpacked takes milliseconds; the machine may be busy.
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("Decode of %d bytes in %v takes %v", len(record), wraps, took)
		}
		if got := d.kept(); got > hostileScratch || d.record.held != 0 || d.record.inflating != 0 || turn.locks != turn.unlocks {
			t.Errorf("behind Decode of %d bytes in %v: %d bytes kept, %d noted as held, %d gzip files open, the turn taken %d times and given back %d times", len(record), wraps, got, d.record.held, d.record.inflating, turn.locks, turn.unlocks)
		}
		if most := maxErrors + 1 + (hostileUnpacked+len(record))/len(`{"eventVersion":"1","eventTime":"2026-03-01T10:00:00Z"}`)*(maxEnvelopes+1); calls > most {
			t.Errorf("Decode of %d bytes in %v yields %d times; want at most %d", len(record), wraps, calls, most)
		}
	})
}

// deepIdentity is an event with a userIdentity that is a string in a string in a string,
// with a value at its end, and has another member.
func deepIdentity(value, role string) string {
	text := value
	for _, name := range []string{"arn", "sessionIssuer", "sessionContext"} {
		text = `{"` + name + `":` + wrapped(text, 1) + "}"
	}
	return `{"userIdentity":` + wrapped(text, 1) + `,"requestParameters":` + wrapped(`{"roleArn":`+wrapped(role, 1)+"}", 1) + "," + bare("a")[1:]
}

func live() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// The decoders of 64 and of 1,000 partitions, each given the records that take most, one
// after the other and while all the others are in the midst of theirs, stay in a budget.
func TestDecodersTogether(t *testing.T) {
	const mib = 1 << 20
	nest := zipped(wrapped(repeat(" ", 3_500_000)+bare("a"), 7))
	records := []string{
		nest,
		zipped(wrapped(repeat(`\n`, mib/8)+bare("a"), 3)),
		zipped(zipped(zipped(repeat(bare("a")+"\n", 1000)))),
		zipped(manyNames(600)),
		zipped(`{"Records":[` + bare("a") + `,{"x":"` + repeat("x", 100*mib) + `"},` + bare("a") + "]}"),
		`{"` + repeat(`\n`, mib) + `":1,"errorMessage":"` + repeat(`\n`, mib) + `",` + bare("a")[1:],
	}
	for n, scratch := range map[int]int{64: 512 << 10, 1000: 32 << 10} {
		var turn mutexTurn
		decoders := make([]Decoder, n)
		base, events := live(), 0
		for i := range decoders {
			decoders[i] = Decoder{Turn: &turn, Scratch: scratch}
			few := records
			if i >= 2 {
				few = records[3:4] // the most that the others keep, in less time
			}
			for _, record := range few {
				decoders[i].Decode([]byte(record), func(e *Event, _ error) bool {
					if e != nil {
						events++
					}
					return true
				})
			}
		}
		budget := uint64(n*(2*scratch+64<<10) + 16*mib)
		if got := live() - base; got > budget {
			t.Errorf("%d decoders with scratch of %d keep %d MiB; want at most %d", n, scratch, got/mib, budget/mib)
		} else {
			t.Logf("%d decoders keep %d MiB behind %d events", n, got/mib, events)
		}
		runtime.KeepAlive(decoders)
	}
}
