package main

import "github.com/spf13/cobra"

func stateCommand(a *app) *cobra.Command {
	c := parent(&cobra.Command{
		Use:   "state",
		Short: "Work on what the rules remember",
	})
	c.AddCommand(stateSeedCommand(a), stateRewindCommand(a))
	return c
}
