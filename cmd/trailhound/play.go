package main

import "trailhound/rules/play"

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
		Engine: engine, State: options, Shards: s.Shards, MaxUnpacked: int64(s.Limits.MaxUnpacked), MaxHeld: s.mostHeld(),
	}, nil
}
