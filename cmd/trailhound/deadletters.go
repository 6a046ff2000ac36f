package main

import (
	"github.com/spf13/cobra"
)

func deadLettersCommand(a *app) *cobra.Command {
	c := parent(&cobra.Command{
		Use:   "dead-letters",
		Short: "Look at what could not be evaluated, and send it again",
		Long: "A record or an event that cannot be evaluated goes to the dead-letter topic: its bytes unchanged, the reason\n" +
			"and the source in its headers. List shows them; retry sends their bytes to the input topic again.",
	})
	c.AddCommand(deadLettersListCommand(a), deadLettersRetryCommand(a))
	return c
}
