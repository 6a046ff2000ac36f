package main

import "trailhound/rules"

// shownRule is a rule as rules list and rules show print it in JSON.
type shownRule struct {
	ID          string           `json:"id"`
	On          bool             `json:"on"`
	Severity    string           `json:"severity"`
	Title       string           `json:"title"`
	Description string           `json:"description"`
	GroupedBy   string           `json:"grouped_by"`
	Techniques  []string         `json:"techniques"`
	Parameters  []shownParameter `json:"parameters"`
}

// shownParameter is a parameter with its values in the form of the configuration.
type shownParameter struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	Value   string `json:"value"`
	Default string `json:"default"`
	Meaning string `json:"meaning"`
}

func (s *setup) ruleShown(k knownRule) shownRule {
	info := k.rule.Info()
	r := shownRule{
		ID: info.ID, On: s.Rules[info.ID], Severity: string(info.Severity), Title: info.Title, Description: info.Description,
		GroupedBy: info.GroupedBy, Techniques: append([]string{}, info.Techniques...), Parameters: []shownParameter{},
	}
	defaults := append(rules.Parameters(k.spec.New()), rules.Parameters(rules.DefaultOptions())...)
	for i, p := range append(rules.Parameters(k.rule), rules.Parameters(*k.options)...) {
		r.Parameters = append(r.Parameters, shownParameter{Name: p.Name, Type: p.Type, Value: p.Default, Default: defaults[i].Default, Meaning: p.Help})
	}
	return r
}
