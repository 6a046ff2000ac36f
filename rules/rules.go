// Package rules decides: it matches CloudTrail events with rules, and evaluates the
// matches against state into alerts.
//
// There are four types to know. An [Event] is read out of records by package cloudtrail. A
// [Rule] picks events and a key for each, and looks at one event with the state of its key.
// An [Engine] runs rules: Match finds the (rule, key) pairs of an event and needs no state,
// Evaluate runs them against a [state.Tx]. An [Alert] is the output. Package ruletest runs
// tests of rules that are written as files.
//
// The guarantee: an alert is a pure function of the events, their order per key, and the
// configuration. Nothing in this package reads a clock, a file or the network, and nothing
// that an event contains can make it fail: an error of one event or one rule is a
// [Rejection] of that event alone.
package rules
