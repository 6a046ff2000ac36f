package main

import (
	"fmt"
	"math"
	"os"

	"trailhound/config"
	"trailhound/consumer/wire"
	"trailhound/rules"
	"trailhound/state"
)

// settings is a configuration and the rules that it turns on, with their parameters.
type settings struct {
	*config.Config
	known  []knownRule
	memory *wire.Memory // of the process, for records
	active []rules.Active
}

// knownRule is a rule of this build with its effective parameters, on or off.
type knownRule struct {
	spec    rules.Spec
	rule    rules.Rule
	options *rules.Options
}

// settings settles the configuration and checks everything in it, parameters of rules included. Each call makes
// new rules: what an earlier one returned never changes.
func (a *app) settings() (*settings, error) {
	s := &settings{}
	in := config.Input{File: a.configFile, Environment: a.environment, Set: a.set}
	if in.File == "" {
		in.File = a.getenv(config.FileVariable)
	}
	in.HostName, _ = os.Hostname() // without one, instance_id has a general name
	for _, spec := range rules.Builtin() {
		k := knownRule{spec: spec, rule: spec.New(), options: new(rules.DefaultOptions())}
		s.known = append(s.known, k)
		in.Rules = append(in.Rules, config.Rule{ID: spec.ID, Targets: []any{k.rule, k.options}})
	}
	var err error
	if s.Config, err = config.Load(in); err != nil {
		return nil, err
	}
	s.shareMemory()
	for _, k := range s.known {
		if s.Rules[k.spec.ID] {
			s.active = append(s.active, rules.Active{Rule: k.rule, Options: *k.options})
		}
	}
	if _, err := s.engine(s.limits()); err != nil {
		return nil, err
	}
	return s, nil
}

// engine returns an engine of the rules that are on.
func (s *settings) engine(limits rules.Limits) (*rules.Engine, error) {
	engine, err := rules.NewEngine(s.active, limits)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return engine, nil
}

// limits are the engine's limits as the service has them.
func (s *settings) limits() rules.Limits {
	return rules.Limits{
		DuplicatesWithin: s.Events.DuplicatesWithin,
		MaxLateness:      s.Events.MaxLateness,
		MaxAhead:         s.Events.MaxAhead,
		MaxSetMembers:    s.Limits.MaxSetMembers,
		MaxAlertBytes:    int(s.Limits.MaxAlertBytes),
	}
}

// pastLimits are the limits for events of the past, as detect and replay read them: late and early events count,
// unless this command line says otherwise.
func (s *settings) pastLimits() rules.Limits {
	limits := s.limits()
	if s.Origin("events.max_lateness").Source != config.FromFlag {
		limits.MaxLateness = 0
	}
	if s.Origin("events.max_ahead").Source != config.FromFlag {
		limits.MaxAhead = 0
	}
	return limits
}

// stateOptions are the options of a state for events within the limits; where it is kept is left to the caller.
func (s *settings) stateOptions(limits rules.Limits) state.Options {
	o := state.Options{
		CacheBytes: int64(s.State.Cache), Lifetime: s.State.Lifetime,
		MaxLateness: limits.MaxLateness, MaxSetMembers: s.Limits.MaxSetMembers,
	}
	if limits.MaxLateness == 0 {
		// Without a limit any event may still be counted in any window, so no value may leave.
		o.MaxLateness = math.MaxInt64
	}
	return o
}
