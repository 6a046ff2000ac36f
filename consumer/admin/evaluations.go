package admin

// Evaluations returns how many evaluations of all rules have come to a verdict
// so far, such as "duplicate". It gathers all metrics: for people, not for hot
// paths.
func (m *Metrics) Evaluations(verdict string) int {
	families, err := m.registry.Gather()
	if err != nil {
		return 0 // our own collectors do not fail; the handler would show it
	}
	n := 0.0
	for _, f := range families {
		if f.GetName() != "trailhound_evaluations_total" {
			continue
		}
		for _, x := range f.GetMetric() {
			for _, l := range x.GetLabel() {
				if l.GetName() == "verdict" && l.GetValue() == verdict {
					n += x.GetCounter().GetValue()
				}
			}
		}
	}
	return int(n)
}
