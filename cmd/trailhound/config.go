package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"trailhound/config"
	"trailhound/rules"
)

func (a *app) configCommand() *cobra.Command {
	c := group(&cobra.Command{
		Use:   "config",
		Short: "Check and print the configuration",
	})
	c.AddCommand(&cobra.Command{
		Use:   "check",
		Short: "Check the configuration, and list everything that is wrong with it",
		Long: "Check the configuration file, the TRAILHOUND_ variables and --set, and list everything that is wrong.\n" +
			"Kafka is not asked; trailhound topics check does that.",
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			s, err := a.settings()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.stdout, "the configuration is right; rules that are on: %d of %d\n", len(s.active), len(s.known))
			return err
		},
	}, &cobra.Command{
		Use:   "print",
		Short: "Print the effective configuration, and where each value came from",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			s, err := a.settings()
			if err != nil {
				return err
			}
			return s.Print(a.stdout)
		},
	}, &cobra.Command{
		Use:   "schema",
		Short: "Print a JSON Schema of the configuration file, for editors",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			schema, err := configSchema()
			if err != nil {
				return err
			}
			_, err = a.stdout.Write(schema)
			return err
		},
	})
	return c
}

// configSchema is the schema of this build's configuration; a copy is config/schema.json.
func configSchema() ([]byte, error) {
	var known []config.Rule
	for _, spec := range rules.Builtin() {
		known = append(known, config.Rule{ID: spec.ID, Targets: []any{spec.New(), new(rules.DefaultOptions())}})
	}
	return config.Schema(known)
}
