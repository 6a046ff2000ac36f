package main

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"

	"trailhound/rules/cloudtrail/filestest"
)

// eventWith is an event with a large value in it: a pattern so many times, between a beginning and an end.
type eventWith struct {
	begin, pattern, end string
	size                int
}

func (e eventWith) write(w *gzip.Writer) (err error) {
	_, err = fmt.Fprint(w, `{"eventVersion":"1.11","eventTime":"2026-03-01T10:00:00Z","eventSource":"sts.amazonaws.com","eventName":"AssumeRole","sourceIPAddress":"192.0.2.1",`, e.begin)
	part := []byte(strings.Repeat(e.pattern, 1<<10/len(e.pattern)))
	for range e.size / len(part) {
		_, fail := w.Write(part)
		err = cmp.Or(err, fail)
	}
	_, fail := fmt.Fprint(w, e.end, "}\n")
	return cmp.Or(err, fail)
}

// Files are read within the memory of a service. Earlier a file could end the process where
// no record would: strings that rules look up were copied again and again, large events in
// a row were held at once, and thousands of batches of a few bytes each had the memory of
// full ones.
func TestMemoryFiles(t *testing.T) {
	if underRace {
		t.Skip("the race detector multiplies memory")
	}
	nested := strings.Repeat(`\`, 15)
	role := eventWith{`"requestParameters":{"roleArn":"arn:aws:iam::111122223333:role/`, `y\u0041zzzzzzzz`, `"}`, 55 * mib}
	texts := eventWith{`"userIdentity":"{\"arn\":\"a\",\"sessionContext\":\"{\\\"sessionIssuer\\\":\\\"{\\\\\\\"arn\\\\\\\":\\\\\\\"` + nested + `u0041`, "A", `\\\\\\\"}\\\"}\"}"`, 55 * mib}
	plain := eventWith{`"requestParameters":{"x":"`, "y", `"}`, 50 * mib}
	packed := func(e eventWith) string { return base64.StdEncoding.EncodeToString(gzipped(t, e.write)) + "\n" }
	for name, c := range map[string]struct {
		write func(w *gzip.Writer) error
		most  int // MiB
		want  string
	}{
		"a string that a rule looks up": {role.write, containerMiB, "event_too_large 1"},
		"strings in strings":            {texts.write, containerMiB, "event_too_large 1"},
		"in a row": {func(w *gzip.Writer) error {
			_, err := w.Write([]byte(strings.Repeat(packed(role)+packed(texts)+packed(plain), 3)))
			return err
		}, containerMiB, "event_too_large 9"},
		"as large as may be": {func(w *gzip.Writer) (err error) {
			for _, e := range []eventWith{role, texts, plain} {
				for e.size = 1700 << 10; err == nil && e.size < 1710<<10; e.size += 1 << 10 {
					err = e.write(w)
				}
			}
			return err
		}, containerMiB, "key_too_long 10"},
		"junk": {func(w *gzip.Writer) error {
			_, err := w.Write([]byte(strings.Repeat("{}\n", 3*mib)))
			return err
		}, 200, "unknown_shape 3145728"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, fakeCluster(t).ListenAddrs(), 0)
			file := filepath.Join(s.dir, "events.gz")
			writeFile(t, file, gzipped(t, func(w *gzip.Writer) error {
				for i := range 10 {
					fmt.Fprintln(w, filestest.Denial(i, "before"))
				}
				err := c.write(w)
				for i := range 10 {
					fmt.Fprintln(w, filestest.Denial(100+i, "behind"))
				}
				return err
			}))
			p, peak := s.watched(c.most, "detect", file)
			code := p.wait()
			t.Logf("peak %d MiB", peak.Load())
			if alerts := strings.Count(p.stdout.String(), "\n"); code != 0 || alerts != 2 {
				t.Errorf("detect ends with %d and gives %d alerts; want 0, and one of the events on either side", code, alerts)
			}
			if !p.stderr.has(c.want) {
				t.Errorf("detect does not say %q", c.want)
			}
		})
	}
}
