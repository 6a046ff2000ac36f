package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// help prints the description of a command, its usage and its flags, wrapped for the
// terminal.
func (a *app) help(c *cobra.Command, _ []string) {
	width := a.width()
	fmt.Fprintf(c.OutOrStdout(), "%s\n\n%s", reflow(strings.TrimSpace(cmp.Or(c.Long, c.Short)), width), wrapUsage(c, width))
}

// reflow wraps the paragraphs that have a line too wide for the terminal.
func reflow(text string, width int) string {
	if width == 0 {
		return text
	}
	paragraphs := strings.Split(text, "\n\n")
	for i, p := range paragraphs {
		if slices.ContainsFunc(strings.Split(p, "\n"), func(line string) bool { return textWidth(line) > width }) {
			paragraphs[i] = wrapText(strings.ReplaceAll(p, "\n", " "), width, 0)
		}
	}
	return strings.Join(paragraphs, "\n\n")
}

// wrapUsage returns the usage of a command, with the descriptions of flags and commands
// wrapped within their own column.
func wrapUsage(c *cobra.Command, width int) string {
	text := c.UsageString()
	if width == 0 {
		return text
	}
	for _, flags := range []*pflag.FlagSet{c.LocalFlags(), c.InheritedFlags()} {
		if flags.HasAvailableFlags() {
			text = strings.Replace(text, strings.TrimRight(flags.FlagUsages(), "\n"), strings.TrimRight(flags.FlagUsagesWrapped(width), "\n"), 1)
		}
	}
	hang := 0
	if commands := c.Commands(); len(commands) > 0 {
		hang = len("  ") + commands[0].NamePadding() + len(" ")
	}
	return wrapText(text, width, hang)
}

func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Print what a command does, as --help does",
		ValidArgsFunction: func(c *cobra.Command, args []string, _ string) (names []cobra.Completion, _ cobra.ShellCompDirective) {
			of, rest, err := c.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			for _, sub := range of.Commands() {
				if sub.IsAvailableCommand() {
					names = append(names, cobra.CompletionWithDesc(sub.Name(), sub.Short))
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error {
			of, rest, err := c.Root().Find(args)
			if err != nil {
				return usagef("%s", err)
			}
			if len(rest) > 0 {
				return unknownCommand(of, rest[0])
			}
			of.InitDefaultHelpFlag() // commands that are executed alone have these flags
			of.InitDefaultVersionFlag()
			return of.Help()
		},
	}
}
