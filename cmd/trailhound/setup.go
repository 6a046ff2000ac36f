package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strings"

	"trailhound/config"
	"trailhound/consumer/kafka/wire"
	"trailhound/rules"
	"trailhound/rules/cloudtrail"
	"trailhound/rules/play"
	"trailhound/state"
)

// builtin lists the rules of this build. The tests limit it to two, so that a new rule in
// rules.Builtin leaves their expectations alone.
var builtin = rules.Builtin

// setup is the configuration, and all that follows from it alone: the rules that it turns
// on, with their parameters, and the memory of records.
type setup struct {
	config *config.Config
	known  []knownRule
	memory *wire.Memory // of the process, for records
	held   int64        // bytes of an unpacked record that are held at a time
	active []rules.Active
}

// knownRule is a rule of this build with its effective parameters, on or off.
type knownRule struct {
	spec    rules.Spec
	rule    rules.Rule
	options *rules.Options
}

// setup settles the configuration and checks all of it, including parameters of rules.
// Each call makes new rules: those of earlier calls never change.
func (a *app) setup() (*setup, error) {
	s := &setup{}
	in := config.Input{Environment: a.environment, Set: a.set}
	in.File, _ = a.fileAndWay()
	in.HostName, _ = os.Hostname() // without one, instance_id has a general name
	for _, spec := range builtin() {
		k := knownRule{spec: spec, rule: spec.New(), options: new(rules.DefaultOptions())}
		s.known = append(s.known, k)
		in.Rules = append(in.Rules, config.Rule{ID: spec.ID, Targets: []any{k.rule, k.options}})
	}
	var err error
	if s.config, err = config.Load(in); err != nil {
		return nil, err
	}
	s.shareMemory()
	for _, k := range s.known {
		if s.config.Rules[k.spec.ID] {
			s.active = append(s.active, rules.Active{Rule: k.rule, Options: *k.options})
		}
	}
	if problems := s.checkRules(); len(problems) > 0 {
		return nil, problems
	}
	return s, nil
}

// checkRules asks each rule that is on whether it takes its parameters under the limits of the service.
func (s *setup) checkRules() (problems config.Problems) {
	for _, a := range s.active {
		_, err := rules.NewEngine([]rules.Active{a}, s.limits())
		if err == nil {
			continue
		}
		p := &config.Problem{Path: "rules", Text: err.Error()}
		if wrong, ok := errors.AsType[*rules.ParameterError](err); ok {
			p.Path, p.Text = "rules."+wrong.Rule, wrong.Err.Error()
			p.Origin = s.given(p.Path, wrong)
		}
		problems = append(problems, p)
	}
	return problems
}

// given returns the place of the parameter of the rule at path, else of another key that
// the error names, else of the rule; the zero origin if none of them is given.
func (s *setup) given(path string, wrong *rules.ParameterError) config.Origin {
	keys := []string{path + "." + wrong.Parameter}
	for word := range strings.FieldsSeq(wrong.Err.Error()) {
		keys = append(keys, strings.Trim(word, ",;:"))
	}
	for _, key := range append(keys, path) {
		if at := s.config.Origin(key); at.Source != config.FromDefault {
			return at
		}
	}
	return config.Origin{}
}

// engine returns an engine with the rules that are on.
func (s *setup) engine(limits rules.Limits) (*rules.Engine, error) {
	engine, err := rules.NewEngine(s.active, limits)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return engine, nil
}

// limits are the engine's limits as the service has them.
func (s *setup) limits() rules.Limits {
	return rules.Limits{
		DuplicatesWithin: s.config.Events.DuplicatesWithin,
		MaxLateness:      s.config.Events.MaxLateness,
		MaxAhead:         s.config.Events.MaxAhead,
		MaxSetMembers:    s.config.Limits.MaxSetMembers,
		MaxAlertBytes:    int(s.config.Limits.MaxAlertBytes),
	}
}

// pastLimits are the limits for events of the past, as detect and replay read them: late
// and early events count, unless --set gives a limit.
func (s *setup) pastLimits() rules.Limits {
	limits := s.limits()
	if s.config.Origin("events.max_lateness").Source != config.FromFlag {
		limits.MaxLateness = 0
	}
	if s.config.Origin("events.max_ahead").Source != config.FromFlag {
		limits.MaxAhead = 0
	}
	return limits
}

// stateOptions are the options of a state for events within the limits; the caller sets its
// place.
func (s *setup) stateOptions(limits rules.Limits) state.Options {
	o := state.Options{
		CacheBytes: int64(s.config.State.Cache), Lifetime: s.config.State.Lifetime,
		MaxLateness: limits.MaxLateness, MaxSetMembers: s.config.Limits.MaxSetMembers,
	}
	if limits.MaxLateness == 0 {
		// Without a limit any window may still count an event, so no value may expire.
		o.MaxLateness = math.MaxInt64
	}
	return o
}

// fileAndWay returns the configuration file and the flag or variable that names it.
func (a *app) fileAndWay() (file, way string) {
	if a.configFile != "" {
		return a.configFile, "--config"
	}
	if file = a.getenv(config.FileVariable); file != "" {
		return file, config.FileVariable
	}
	return "", ""
}

// shareMemory divides the process's memory limit. The part of a record that is held at a
// time follows from it, unless limits.max_unpacked is configured. It does not bound the
// unpacked size of a record: a file with many events in it is read event by event.
func (s *setup) shareMemory() {
	limit := memoryLimit()
	if s.held = int64(s.config.Limits.MaxUnpacked); !s.unpackedIsSet() {
		s.held = min(s.held, wire.MostUnpacked(limit))
	}
	s.memory = wire.NewMemory(limit, s.held)
}

func (s *setup) unpackedIsSet() bool {
	return s.config.Origin("limits.max_unpacked") != (config.Origin{})
}

// decoder returns a decoder with the limits of the configuration.
func (s *setup) decoder() cloudtrail.Decoder {
	return cloudtrail.Decoder{MaxUnpacked: int64(s.config.Limits.MaxUnpacked), MaxHeld: s.mostHeld()}
}

// mostHeld returns the MaxHeld of decoders, in bytes.
func (s *setup) mostHeld() int64 { return min(s.held, cloudtrail.DefaultMaxHeld) }

// tightMemory returns a warning if a record may take more memory than the process has; else
// "".
func (s *setup) tightMemory() string {
	limit := memoryLimit()
	if limit == 0 || s.held <= wire.MostUnpacked(limit) {
		return ""
	}
	return fmt.Sprintf("limits.max_unpacked is %d bytes, and a record may take three times that; a process with a memory limit of %d bytes can be ended by one: leave the key out, so that at most %d of a record are held at a time, or give the process more memory",
		s.config.Limits.MaxUnpacked, limit, wire.MostUnpacked(limit))
}

// playOptions returns the options of a player with the rules and shards of the setup,
// for events of the past. The caller sets the callbacks.
func (s *setup) playOptions() (play.Options, error) {
	limits := s.pastLimits()
	engine, err := s.engine(limits)
	if err != nil {
		return play.Options{}, err
	}
	options := s.stateOptions(limits)
	options.NoHorizon = limits.MaxLateness == 0
	return play.Options{
		Engine: engine, State: options, Shards: s.config.Shards, MaxUnpacked: int64(s.config.Limits.MaxUnpacked), MaxHeld: s.mostHeld(),
	}, nil
}
