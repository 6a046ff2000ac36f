package rules

import (
	"bytes"
	"fmt"
	"time"
	"unicode/utf8"
	"unsafe"

	"trailhound/state"
)

// isEvent reports whether the object just scanned is an event. Being one
// counts for more than any name of an envelope in it.
func (d *Decoder) isEvent() bool {
	return d.has(fieldVersion) || d.has(fieldName) && d.has(fieldSource)
}

// read yields b, an object just scanned and found to be an event.
func (d *Decoder) read(b []byte, i, end int) bool {
	d.text = d.text[:0]
	e := &d.event
	e.Source = d.string(b, fieldSource)
	if e.Source == "aws:s3" && d.has(fieldS3) {
		return d.hold(ReasonS3Notification, "an event notification of S3 holds no CloudTrail events")
	}
	if !d.reserve(b, end-i) {
		return d.reject(ReasonUnpackedTooLarge, fmt.Sprintf("the strings of the event unpack to more than %d bytes", d.limit()))
	}
	when, reason, detail := d.time(b)
	if reason != "" {
		return d.reject(reason, detail)
	}
	e.Time = when
	e.ID = d.string(b, fieldID)
	if e.ID == "" {
		e.ID = d.string(b, fieldSmallID)
	}
	e.Name = d.string(b, fieldName)
	e.Region = d.string(b, fieldRegion)
	e.SourceIP = d.string(b, fieldSourceIP)
	e.ErrorCode = d.string(b, fieldErrorCode)
	e.ErrorMessage = d.string(b, fieldErrorMessage)
	e.Account = d.string(b, fieldAccount)
	e.Version = d.string(b, fieldVersion)
	e.Type = d.string(b, fieldType)
	e.Category = d.string(b, fieldCategory)
	e.Identity.Type = d.string(b, fieldIdentityType)
	e.Identity.ARN = d.string(b, fieldIdentityARN)
	e.Identity.PrincipalID = d.string(b, fieldPrincipalID)
	e.Identity.AccountID = d.string(b, fieldAccountID)
	e.Identity.InvokedBy = d.string(b, fieldInvokedBy)
	e.Identity.IssuerARN = d.string(b, fieldIssuerARN)
	e.requestParameters = d.whole(b, fieldRequestParameters, '{')
	e.Raw = b[i:end:end]
	e.At, e.RecordTime = state.Source{}, time.Time{}
	more := d.accept()
	if cap(d.text) > keepScratch {
		d.text = nil
	}
	return more
}

// reserve makes room for all strings of the event just scanned, of size bytes,
// if that may take more than scratch; false: they exceed the limit, together
// with the strings that the event lies in.
func (d *Decoder) reserve(b []byte, size int) bool {
	if size <= keepScratch/4 || !d.scan.mixed {
		return true
	}
	n := 0
	for _, s := range d.scan.fields[none+1 : firstWhole] {
		n += unescapedLen(b[s.start:s.end])
	}
	if int64(n) > d.limit()-d.quoted {
		return false
	}
	if n > max(keepScratch, cap(d.text)) {
		d.large()
		d.text = make([]byte, 0, n)
	}
	return true
}

// time reads the event's time. A reason other than "" says why there is none.
func (d *Decoder) time(b []byte) (time.Time, Reason, string) {
	f := fieldTime
	if !d.has(f) {
		f = fieldTimestamp
	}
	if !d.has(f) {
		return time.Time{}, ReasonNoEventTime, "the event has no eventTime"
	}
	s := d.string(b, f)
	t, ok := parseTime(s)
	if !ok {
		return t, ReasonBadEventTime, fmt.Sprintf("eventTime %q is not an RFC 3339 time from 1970 to 2262", clip(s))
	}
	return t, "", ""
}

// has reports whether the object just scanned has the member, and not as an
// empty string.
func (d *Decoder) has(f field) bool {
	return d.scan.fields[f].end > d.scan.fields[f].start
}

// string returns a string of the object just scanned, "" if it is absent. It
// is part of b wherever that is possible.
func (d *Decoder) string(b []byte, f field) string {
	s := d.scan.fields[f]
	if s.end == s.start {
		return ""
	}
	raw := b[s.start:s.end]
	if !d.scan.mixed {
		return unsafe.String(unsafe.SliceData(raw), len(raw))
	}
	return d.decoded(raw)
}

// decoded returns the string whose raw form is raw: part of raw or of d.text.
func (d *Decoder) decoded(raw []byte) string {
	if isPlain(raw) {
		return unsafe.String(unsafe.SliceData(raw), len(raw))
	}
	// Should the append move d.text, strings made before keep the old array.
	start := len(d.text)
	d.text = appendUnescaped(d.text, raw)
	raw = d.text[start:]
	return unsafe.String(unsafe.SliceData(raw), len(raw))
}

// whole returns the raw value of a member of the object just scanned, nil if it
// is absent or does not begin with the byte kind.
func (d *Decoder) whole(b []byte, f field, kind byte) []byte {
	s := d.scan.fields[f]
	if s.end == 0 || b[s.start] != kind {
		return nil
	}
	return b[s.start:s.end:s.end]
}

// isPlain reports whether the raw form of a string is the string itself.
func isPlain(raw []byte) bool {
	n := verbatim(raw)
	return n == len(raw) || bytes.IndexByte(raw[n:], '\\') < 0 && utf8.Valid(raw[n:])
}

// clip shortens what a message quotes from an event.
func clip(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}
