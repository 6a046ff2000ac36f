package main

import (
	"github.com/spf13/cobra"

	"trailhound/config"
	"trailhound/rules"
)

func configCommand(a *app) *cobra.Command {
	c := parent(&cobra.Command{
		Use:   "config",
		Short: "Check and print the configuration",
	})
	var asJSON bool
	printing := &cobra.Command{
		Use:   "print",
		Short: "Print the effective configuration, and where each value came from",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			s, err := a.setup()
			if err != nil {
				return err
			}
			if asJSON {
				return a.jsonLine(s.config.Values())
			}
			return s.config.Print(a.stdout)
		},
	}
	printing.Flags().BoolVar(&asJSON, "json", false, "print one JSON object: for each key its value, as text, and where it came from")
	c.AddCommand(configCheckCommand(a), printing, &cobra.Command{
		Use:   "schema",
		Short: "Print a JSON Schema of the configuration file, for editors",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			schema, err := configSchema(builtin())
			if err != nil {
				return err
			}
			_, err = a.stdout.Write(schema)
			return err
		},
	})
	return c
}

// configSchema returns the JSON Schema of the configuration for a build with these rules;
// config/schema.json is that of this build.
func configSchema(specs []rules.Spec) ([]byte, error) {
	var known []config.Rule
	for _, spec := range specs {
		known = append(known, config.Rule{ID: spec.ID, Targets: []any{spec.New(), new(rules.DefaultOptions())}})
	}
	return config.Schema(known)
}
