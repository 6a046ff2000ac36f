// Package filestest makes the files of events that tests read.
package filestest

import (
	archivezip "archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Denial returns event n of a principal, as a line; the rule access_denied counts it.
func Denial(n int, principal string) string {
	arn, err := json.Marshal(principal)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf(`{"eventVersion":"1.11","userIdentity":{"type":"IAMUser","arn":%s},"eventTime":"2026-03-01T10:%02d:%02dZ","eventSource":"s3.amazonaws.com",`+
		`"eventName":"GetObject","awsRegion":"eu-west-1","sourceIPAddress":"198.51.100.7","errorCode":"AccessDenied","requestParameters":null,"eventID":"id-%d"}`,
		arn, n/60%60, n%60, n) + "\n"
}

// Gzip packs data.
func Gzip(data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(data) // a Buffer takes everything
	_ = w.Close()
	return b.Bytes()
}

// Member is a file in an archive.
type Member struct {
	Name   string
	Data   []byte
	Header func(*archivezip.FileHeader) // nil: deflated
}

// Archive returns a zip archive.
func Archive(t *testing.T, members ...Member) []byte {
	t.Helper()
	var b bytes.Buffer
	z := archivezip.NewWriter(&b)
	for _, m := range members {
		h := &archivezip.FileHeader{Name: m.Name, Method: archivezip.Deflate}
		if m.Header != nil {
			m.Header(h)
		}
		w, err := z.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(m.Data); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Any draws the content of a file: events, documents of events and records without
// events, with or without a large record, plain or gzip, whole or cut off. The events of
// another n have other ids.
func Any(t *rapid.T, n int) []byte {
	var b bytes.Buffer
	for i := range rapid.IntRange(0, 30).Draw(t, "records") {
		e := Denial(100*n+i, fmt.Sprint("user-", rapid.IntRange(0, 3).Draw(t, "user")))
		b.WriteString(rapid.SampledFrom([]string{
			e, e, e, `{"Records":[` + e + "," + e + "]}", "junk\n", e[:len(e)/2] + "\n", "{}", " \n\n", `{"eventVersion":"1"}`, "\xff\n",
		}).Draw(t, "record"))
	}
	if rapid.IntRange(0, 4).Draw(t, "large") == 0 {
		b.WriteString(`{"Records":[` + strings.Repeat(Denial(n, "large")+",", 700) + Denial(n+1, "large") + "]}" + Denial(n+2, "large"))
	}
	data := b.Bytes()
	if rapid.Bool().Draw(t, "gzip") {
		data = Gzip(data)
	}
	if rapid.IntRange(0, 3).Draw(t, "cut") == 0 {
		data = data[:rapid.IntRange(0, len(data)).Draw(t, "left")]
	}
	return data
}

// WithProcessors runs fn as on a machine with n processors; tests that run side by side
// must not call it.
func WithProcessors(n int, fn func()) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(n))
	fn()
}
