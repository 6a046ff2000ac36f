package rules

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// ruleSet is the part of an engine that never changes.
type ruleSet struct {
	rules       []*boundRule
	byID        map[string]*boundRule
	limits      Limits
	description []byte // JSON
	fingerprint []byte // of it
}

// boundRule is a rule that is on, with the parts that all of its alerts repeat.
type boundRule struct {
	rule       Rule
	unkeyed    unkeyer    // nil: the rule does not tell
	identifier identifier // nil: Event.Identifier
	resumer    resumer    // nil: the rule does not resume
	info       Info
	options    Options
	techniques []byte // JSON
	parameters []byte // JSON, those shown in alerts
}

var (
	ruleID    = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)
	technique = regexp.MustCompile(`^T[0-9]{4}(\.[0-9]{3})?$`)
)

func newRuleSet(active []Active, limits Limits) (*ruleSet, error) {
	if err := limits.validate(); err != nil {
		return nil, err
	}
	set := &ruleSet{byID: make(map[string]*boundRule, len(active)), limits: limits}
	for _, a := range active {
		r, err := bind(a)
		if err != nil {
			return nil, err
		}
		if v, ok := a.Rule.(limitValidator); ok {
			if err := v.ValidateLimits(limits); err != nil {
				return nil, parameterError(a, r.info.ID, err)
			}
		}
		if set.byID[r.info.ID] != nil {
			return nil, fmt.Errorf("rule %s is there twice; a rule can be on only once, because its state is stored under its ID", r.info.ID)
		}
		set.rules = append(set.rules, r)
		set.byID[r.info.ID] = r
	}
	return set, nil
}

func bind(a Active) (*boundRule, error) {
	if a.Rule == nil {
		return nil, errors.New("a rule is nil; it must be a pointer to a struct with its parameters")
	}
	info := a.Rule.Info()
	if err := info.validate(); err != nil {
		return nil, err
	}
	if err := supported(a.Rule); err != nil {
		return nil, fmt.Errorf("rule %s: %w", info.ID, err)
	}
	if err := checkParameters(a); err != nil {
		return nil, parameterError(a, info.ID, err)
	}
	r := &boundRule{rule: a.Rule, info: info, options: a.Options}
	r.unkeyed, _ = a.Rule.(unkeyer)
	r.identifier, _ = a.Rule.(identifier)
	r.resumer, _ = a.Rule.(resumer)
	r.techniques = appendStrings(nil, info.Techniques)
	r.parameters = appendParameters(nil, a.Rule, true)
	return r, nil
}

func (i Info) validate() error {
	switch {
	case !ruleID.MatchString(i.ID):
		return fmt.Errorf("rule ID %q is not one; use at most 64 of a-z, 0-9 and _, with a letter first", i.ID)
	case i.Title == "":
		return fmt.Errorf("rule %s has no title; give it one line that says what an alert means", i.ID)
	case !i.Severity.known():
		return fmt.Errorf("rule %s has severity %q; it must be info, low, medium, high or critical", i.ID, i.Severity)
	}
	for _, t := range i.Techniques {
		if !technique.MatchString(t) {
			return fmt.Errorf("rule %s has technique %q; it must be a MITRE ATT&CK ID, such as T1078.004", i.ID, t)
		}
	}
	return nil
}

// ParameterError says why a parameter of a rule that is on is refused.
type ParameterError struct {
	Rule      string // its ID
	Parameter string // the first word of Err's sentence if that is a parameter's name, else ""
	Err       error  // of the rule's Validate or ValidateLimits, or of [Options.Validate]
}

// Error returns the sentence with the rule in front.
func (e *ParameterError) Error() string { return "rule " + e.Rule + ": " + e.Err.Error() }

// Unwrap returns Err.
func (e *ParameterError) Unwrap() error { return e.Err }

func parameterError(a Active, id string, err error) error {
	out := &ParameterError{Rule: id, Err: err}
	first, _, _ := strings.Cut(err.Error(), " ")
	for _, p := range append(Parameters(a.Rule), Parameters(a.Options)...) {
		if p.Name == first {
			out.Parameter = first
		}
	}
	return out
}

func checkParameters(a Active) error {
	if err := a.Options.Validate(); err != nil {
		return err
	}
	if v, ok := a.Rule.(validator); ok {
		return v.Validate()
	}
	return nil
}
