package main

import (
	"fmt"

	"github.com/spf13/cobra"
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
	})
	return c
}
