package consumer

import "time"

// lingerEach is how long a request is put off for each record that the one before it
// carried. A lone record goes at once, or a millisecond after the last one; where more
// than 1/lingerEach records a second come, requests grow until they are lingerMost apart.
// What a request costs the brokers is nearly the same for one record and for a hundred.
const lingerEach = time.Millisecond

// linger returns for how long after a request of so many records no other one is sent
// unless it is full.
func linger(records int, most time.Duration) time.Duration {
	if time.Duration(records) >= most/lingerEach {
		return most
	}
	return time.Duration(records) * lingerEach
}
