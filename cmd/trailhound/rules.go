package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"trailhound/config"
	"trailhound/rules"
)

func rulesCommand(a *app) *cobra.Command {
	c := parent(&cobra.Command{
		Use:   "rules",
		Short: "Show the rules and their parameters, and test them",
	})
	c.AddCommand(rulesListCommand(a), rulesShowCommand(a), rulesTestCommand(a))
	return c
}

func rulesListCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List the rules of this build, one a line",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			s, err := a.setup()
			if err != nil {
				return err
			}
			if asJSON {
				for _, k := range s.known {
					if err := a.jsonLine(s.ruleShown(k)); err != nil {
						return err
					}
				}
				return nil
			}
			w := a.columns(a.stdout)
			fmt.Fprintln(w, "RULE\tON\tSEVERITY\tTECHNIQUES\tTITLE")
			for _, k := range s.known {
				info := k.rule.Info()
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", info.ID, yesNo(s.config.Rules[info.ID]), info.Severity, strings.Join(info.Techniques, ","), info.Title)
			}
			return w.Flush()
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a rule, with all that show prints")
	return c
}

func rulesShowCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:       "show RULE",
		Short:     "Describe a rule, and its parameters with their values in this configuration",
		Args:      oneArg("rule"),
		ValidArgs: ruleIDs(),
		RunE: func(_ *cobra.Command, args []string) error {
			s, err := a.setup()
			if err != nil {
				return err
			}
			for _, k := range s.known {
				if k.spec.ID == args[0] && asJSON {
					return a.jsonLine(s.ruleShown(k))
				}
				if k.spec.ID == args[0] {
					return showRule(a, s, k)
				}
			}
			return unknownRule(args[0])
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

func showRule(a *app, s *setup, k knownRule) error {
	info := k.rule.Info()
	w := a.columns(a.stdout)
	fmt.Fprintf(w, "%s: %s\n\n%s\n\n", info.ID, info.Title, info.Description)
	fmt.Fprintf(w, "severity\t%s\ntechniques\t%s\ngrouped by\t%s\non\t%s\n\n", info.Severity, strings.Join(info.Techniques, ", "), cmp.Or(info.GroupedBy, "see the description"), yesNo(s.config.Rules[info.ID]))
	fmt.Fprintln(w, "PARAMETER\tVALUE\tDEFAULT\tMEANING")
	defaults := append(rules.Parameters(k.spec.New()), rules.Parameters(rules.DefaultOptions())...)
	for i, p := range append(rules.Parameters(k.rule), rules.Parameters(*k.options)...) {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", p.Name, printable(p.Default), defaults[i].Default, p.Help)
	}
	return w.Flush()
}

func ruleIDs() []string {
	var ids []string
	for _, spec := range builtin() {
		ids = append(ids, spec.ID)
	}
	return ids
}

func unknownRule(id string) error {
	if near := config.Nearest(id, ruleIDs()); near != "" {
		return usagef("unknown rule %q; did you mean %s?", id, near)
	}
	return usagef("unknown rule %q; there are %s", id, strings.Join(ruleIDs(), ", "))
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

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
		ID: info.ID, On: s.config.Rules[info.ID], Severity: string(info.Severity), Title: info.Title, Description: info.Description,
		GroupedBy: info.GroupedBy, Techniques: append([]string{}, info.Techniques...), Parameters: []shownParameter{},
	}
	defaults := append(rules.Parameters(k.spec.New()), rules.Parameters(rules.DefaultOptions())...)
	for i, p := range append(rules.Parameters(k.rule), rules.Parameters(*k.options)...) {
		r.Parameters = append(r.Parameters, shownParameter{Name: p.Name, Type: p.Type, Value: p.Default, Default: defaults[i].Default, Meaning: p.Help})
	}
	return r
}
