package state

const hexDigits = "0123456789abcdef"

// packUUID gives the 16 bytes of a UUID in its canonical form: 36 bytes, lower
// case. Other spellings keep their own bytes.
func packUUID(s string) (u [16]byte, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return u, false
	}
	for i, at := range uuidDigits {
		hi, lo := unhex[s[at]], unhex[s[at+1]]
		if hi|lo > 15 {
			return u, false
		}
		u[i] = hi<<4 | lo
	}
	return u, true
}

func isUUID(s []byte) bool {
	if len(s) != 36 {
		return false
	}
	_, ok := packUUID(string(s))
	return ok
}

func unpackUUID(u []byte) string {
	var s [36]byte
	return string(appendUUID(s[:0], u))
}

// appendUUID adds the canonical form of the 16 bytes of a UUID.
func appendUUID(dst, u []byte) []byte {
	var s [36]byte
	s[8], s[13], s[18], s[23] = '-', '-', '-', '-'
	for i, at := range uuidDigits {
		s[at], s[at+1] = hexDigits[u[i]>>4], hexDigits[u[i]&15]
	}
	return append(dst, s[:]...)
}

// uuidDigits tells where the two digits of each byte stand.
var uuidDigits = [16]uint8{0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34}

// unhex gives the value of a lower-case digit, 255 for every other byte.
var unhex = func() (t [256]byte) {
	for i := range t {
		t[i] = 255
	}
	for i := range len(hexDigits) {
		t[hexDigits[i]] = byte(i)
	}
	return t
}()
