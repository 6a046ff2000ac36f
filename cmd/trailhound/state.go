package main

import "github.com/spf13/cobra"

func (a *app) stateCommand() *cobra.Command {
	c := parent(&cobra.Command{
		Use:   "state",
		Short: "Work on what the rules remember",
	})
	c.AddCommand(a.stateSeedCommand(), a.stateRewindCommand())
	return c
}
