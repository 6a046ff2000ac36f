package match

// Kept returns how many values and bytes of text have room.
func (s *Scratch) Kept() (values, text int) {
	for _, r := range s.read {
		values = max(values, cap(r.values))
	}
	return values, cap(s.text)
}
