package main

import (
	"strings"

	"trailhound/config"

	"github.com/spf13/cobra"
)

// parent makes a command that only holds others: alone it prints its help as an error, and
// for a mistyped command below it names the nearest one.
func parent(c *cobra.Command) *cobra.Command {
	c.Args = cobra.ArbitraryArgs
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknownCommand(c, args[0])
		}
		c.SetOut(c.ErrOrStderr())
		if err := c.Help(); err != nil {
			return err
		}
		return usagef("a command is missing")
	}
	return c
}

func unknownCommand(c *cobra.Command, name string) error {
	var names []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	if near := config.Nearest(name, names); near != "" {
		return usagef("unknown command %q; did you mean %s %s?", name, c.CommandPath(), near)
	}
	return usagef("unknown command %q; %s has %s", name, c.CommandPath(), strings.Join(names, ", "))
}

// noArgs refuses any argument.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes no argument; got %q", commandName(c), args[0])
	}
	return nil
}

// oneArg wants exactly one argument, which the error calls by the given noun.
func oneArg(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usagef("%s wants one %s; got %d", commandName(c), what, len(args))
		}
		return nil
	}
}

// commandName returns the command as it is typed after the program's commandName.
func commandName(c *cobra.Command) string {
	return strings.TrimPrefix(c.CommandPath(), c.Root().Name()+" ")
}
