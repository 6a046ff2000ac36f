package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// keySchema is the part of the configuration's JSON Schema that completion needs.
type keySchema struct {
	Type        any                   `json:"type"`
	Description string                `json:"description"`
	Enum        []any                 `json:"enum"`
	Properties  map[string]*keySchema `json:"properties"`
	AnyOf       []*keySchema          `json:"anyOf"`
}

// setting is a key that --set takes.
type setting struct {
	help   string
	values []string // the only values allowed; nil: any
}

// completeSet completes PATH=VALUE: the key up to its =, and behind it the value of a key
// with few values.
func completeSet(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	text, err := configSchema(builtin())
	var schema keySchema
	if err == nil {
		err = json.Unmarshal(text, &schema)
	}
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	keys := map[string]setting{}
	schema.collect("", keys)
	if path, _, ok := strings.Cut(typed, "="); ok {
		var all []string
		for _, value := range keys[path].values {
			all = append(all, path+"="+value)
		}
		return all, cobra.ShellCompDirectiveNoFileComp
	}
	var all []string
	for _, path := range slices.Sorted(maps.Keys(keys)) {
		all = append(all, cobra.CompletionWithDesc(path+"=", keys[path].help))
	}
	return all, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

func (s *keySchema) collect(path string, into map[string]setting) {
	if len(s.Properties) == 0 && path != "" {
		key := setting{help: s.Description}
		for _, value := range s.Enum {
			key.values = append(key.values, fmt.Sprint(value))
		}
		if s.Type == "boolean" {
			key.values = []string{"true", "false"}
		}
		if len(s.AnyOf) == 0 || key.values != nil {
			into[path] = key
		}
	}
	for name, below := range s.Properties {
		below.collect(strings.TrimPrefix(path+"."+name, "."), into)
	}
	for _, one := range s.AnyOf {
		one.collect(path, into)
	}
}

// completeInputs completes the topics of topics.input.
func (a *app) completeInputs(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	s, err := a.setup()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return s.config.Topics.Input, cobra.ShellCompDirectiveNoFileComp
}
