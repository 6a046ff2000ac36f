package cloudtrail

import "unsafe"

// Copy returns a copy of the event that lies in buf, behind its content, and the longer
// buf. The copy is valid as long as those bytes do not change.
func (e *Event) Copy(buf []byte) (Event, []byte) {
	c := *e
	for _, s := range c.strings() {
		*s, buf = CopyString(*s, buf)
	}
	c.Raw, buf = copyBytes(c.Raw, buf)
	c.requestParameters, buf = copyBytes(c.requestParameters, buf)
	return c, buf
}

func (e *Event) strings() [19]*string {
	return [...]*string{
		&e.ID, &e.Name, &e.Source, &e.Region, &e.SourceIP, &e.ErrorCode, &e.ErrorMessage, &e.Account, &e.Version, &e.Type, &e.Category,
		&e.sharedID, &e.vpcEndpoint,
		&e.Identity.Type, &e.Identity.ARN, &e.Identity.PrincipalID, &e.Identity.AccountID, &e.Identity.InvokedBy, &e.Identity.IssuerARN,
	}
}

// CopyString is [Event.Copy] for a string.
func CopyString(s string, buf []byte) (string, []byte) {
	start := len(buf)
	buf = append(buf, s...)
	return unsafe.String(unsafe.SliceData(buf[start:]), len(s)), buf
}

// copyBytes is CopyString for bytes; nil stays nil.
func copyBytes(b, buf []byte) (copied, rest []byte) {
	if b == nil {
		return nil, buf
	}
	start := len(buf)
	buf = append(buf, b...)
	return buf[start:len(buf):len(buf)], buf
}
