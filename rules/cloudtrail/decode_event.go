package cloudtrail

import (
	"time"
	"unsafe"

	"trailhound/rules/cloudtrail/internal/jsonscan"
	"trailhound/state"
)

// isEvent reports whether the object just scanned is an event. The members of an event take
// precedence over any name of an envelope in it.
func (d *Decoder) isEvent() bool {
	return d.has(fieldVersion) || d.has(fieldName) && d.has(fieldSource)
}

// read makes d.event of b[i:end], an object just scanned and found to be an event. Without
// a problem that is no event only where the turn was refused.
func (d *Decoder) read(b []byte, i, end int) *DecodeError {
	e := &d.event
	if most := d.MostEvent(); int64(end-i) > most {
		return problem(ReasonEventTooLarge, "the event takes %d bytes, and at most %d are read", end-i, most)
	}
	if !d.reserve(b, end-i) {
		return problem(ReasonUnpackedTooLarge, "the strings of the event unpack to more than %d bytes", d.maxHeld())
	}
	when, err := d.time(b)
	if err != nil {
		return err
	}
	e.Time = when
	f := &d.scan.Fields
	e.ID = f[fieldID].String(b)
	if e.ID == "" {
		e.ID = f[fieldSmallID].String(b)
	}
	e.Name = f[fieldName].String(b)
	e.Source = f[fieldSource].String(b)
	e.Region = f[fieldRegion].String(b)
	e.SourceIP = f[fieldSourceIP].String(b)
	e.ErrorCode = f[fieldErrorCode].String(b)
	e.ErrorMessage = f[fieldErrorMessage].String(b)
	e.Account = f[fieldAccount].String(b)
	e.Version = f[fieldVersion].String(b)
	e.Type = f[fieldType].String(b)
	e.Category = f[fieldCategory].String(b)
	e.sharedID = f[fieldSharedID].String(b)
	e.vpcEndpoint = f[fieldVPCEndpoint].String(b)
	e.Identity.Type = f[fieldIdentityType].String(b)
	e.Identity.ARN = f[fieldIdentityARN].String(b)
	e.Identity.PrincipalID = f[fieldPrincipalID].String(b)
	e.Identity.AccountID = f[fieldAccountID].String(b)
	e.Identity.InvokedBy = f[fieldInvokedBy].String(b)
	e.Identity.IssuerARN = f[fieldIssuerARN].String(b)
	if d.scan.Escaped {
		for _, s := range e.strings() {
			*s = d.decoded(*s)
		}
	}
	if e.requestParameters = d.whole(b, fieldRequestParameters, '{'); e.requestParameters == nil {
		e.requestParameters = d.whole(b, fieldRequestParameters, '"')
	}
	inText := d.has(fieldIdentityText)
	if (inText || len(e.requestParameters) > 0 && e.requestParameters[0] == '"') && d.kept()+lookupLayers*(end-i) > d.scratch() && !d.large() {
		return nil
	}
	if inText {
		e.Identity = identityIn(b[i:end])
	}
	e.scanned, e.addendum = true, d.has(fieldAddendum)
	e.Raw = b[i:end:end]
	e.At, e.RecordTime = state.Source{}, time.Time{}
	return nil
}

// reserve makes room for those strings of the event just scanned, of size bytes, that
// cannot be taken as they stand, if they may be large; false: they exceed the limit,
// together with the layers around the event, or the turn was refused. Whether there is such
// a string at all, the scan says with too much caution: nothing may depend on that.
func (d *Decoder) reserve(b []byte, size int) bool {
	if size <= measuredText || !d.scan.Escaped {
		return true
	}
	n := 0
	for _, s := range d.scan.Fields[none+1 : jsonscan.FirstWhole] {
		if raw := b[s.Start:s.End]; !jsonscan.IsPlain(raw) {
			n += jsonscan.UnescapedLen(raw)
		}
	}
	if int64(n) > d.maxHeld()-d.record.held {
		return false
	}
	room, ok := d.room(d.text, n)
	d.text = room
	return ok
}

// time reads the event's time.
func (d *Decoder) time(b []byte) (time.Time, *DecodeError) {
	f := fieldTime
	if !d.has(f) {
		f = fieldTimestamp
	}
	if !d.has(f) {
		return time.Time{}, problem(ReasonNoEventTime, "the event has no eventTime")
	}
	s := d.string(b, f)
	t, ok := d.clock.read(s)
	if !ok {
		return t, problem(ReasonBadEventTime, "eventTime %q is neither an RFC 3339 time nor a timestamp of SQL from 1970 to 2262", Clip(s, quoted))
	}
	return t, nil
}

// has reports whether the object just scanned has the member, and not as an
// empty string.
func (d *Decoder) has(f field) bool {
	return d.scan.Fields[f].End > d.scan.Fields[f].Start
}

// string returns a string of the object just scanned, "" if it is absent. It
// is part of b wherever that is possible.
func (d *Decoder) string(b []byte, f field) string {
	s := d.scan.Fields[f].String(b)
	if d.scan.Escaped {
		return d.decoded(s)
	}
	return s
}

// decoded returns the string with the raw form raw: raw itself or part of d.text.
func (d *Decoder) decoded(raw string) string {
	b := unsafe.Slice(unsafe.StringData(raw), len(raw))
	if jsonscan.IsPlain(b) {
		return raw
	}
	// Should the append move d.text, strings made before keep the old array.
	start := len(d.text)
	d.text = jsonscan.AppendUnescaped(d.text, b)
	b = d.text[start:]
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// whole returns the raw value of a member of the object just scanned, nil if it
// is absent or does not begin with the byte kind; 0: with any.
func (d *Decoder) whole(b []byte, f field, kind byte) []byte {
	s := d.scan.Fields[f]
	if s.End == 0 || kind != 0 && b[s.Start] != kind {
		return nil
	}
	return b[s.Start:s.End:s.End]
}
