package main

import (
	"github.com/spf13/cobra"
)

// shells are the shells that completion writes a script for.
var shells = []string{"bash", "zsh", "fish", "powershell"}

func completionCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "completion SHELL",
		Short: "Print a script that completes commands in bash, zsh, fish or powershell",
		Long: "Completion prints a script for a shell: commands, flags, and what many of them take, as the keys of --set and\n" +
			"their values, rules, severities and reasons. For bash the package bash-completion must be installed.",
		Example:   "  source <(trailhound completion bash)",
		ValidArgs: shells,
		Args:      oneArg("shell (bash, zsh, fish or powershell)"),
		RunE: func(c *cobra.Command, args []string) error {
			switch root := c.Root(); args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.stdout, true)
			case "zsh":
				return root.GenZshCompletion(a.stdout)
			case "fish":
				return root.GenFishCompletion(a.stdout, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(a.stdout)
			}
			return usagef("unknown shell %q; known are bash, zsh, fish and powershell", args[0])
		},
	}
}
