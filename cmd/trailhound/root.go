package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"trailhound/config"
)

// rootCommand returns the command line: one command, one file.
func rootCommand(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "trailhound",
		Short: "Find suspicious behaviour in streams of AWS CloudTrail events",
		Long: "Trailhound runs stateful detection rules over AWS CloudTrail events in Kafka topics or in files.\n\n" +
			"Results go to stdout, everything else to stderr. The exit code is 0 when done, 1 when failed,\n" +
			"2 when the command line or the configuration is wrong, files included that they name and that cannot be\n" +
			"opened; replay --diff exits with 3 when alerts differ.",
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.configFile, "config", "", "read the configuration from this YAML `FILE` ("+config.FileVariable+")")
	flags.StringArrayVar(&a.set, "set", nil, "set one key of the configuration, `PATH=VALUE`; may be given often")
	_ = root.RegisterFlagCompletionFunc("set", completeSet) // fails for unknown flags only
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(
		runCommand(a),
		statusCommand(a),
		healthCommand(a),
		logLevelCommand(a),
		demoCommand(a),
		detectCommand(a),
		replayCommand(a),
		rulesCommand(a),
		ingestCommand(a),
		alertsCommand(a),
		explainCommand(a),
		stateCommand(a),
		deadLettersCommand(a),
		topicsCommand(a),
		aclsCommand(a),
		configCommand(a),
		versionCommand(a),
		completionCommand(a),
	)
	root.SetHelpFunc(a.help)
	root.SetHelpCommand(helpCommand())
	return versioned(a, parent(root))
}

// versioned gives a command the flag --version. Cobra's own flag takes its text only as a
// template, and templates make the linker keep all methods of all types.
func versioned(a *app, c *cobra.Command) *cobra.Command {
	asked := c.Flags().BoolP("version", "v", false, "print the version")
	run := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		if *asked {
			_, err := fmt.Fprintln(a.stdout, versionLine())
			return err
		}
		return run(c, args)
	}
	return c
}

// wantedOf describes to people the values that a flag takes, by its type.
var wantedOf = map[string]string{"bool": "true or false", "int": "a whole number", "int32Slice": "a whole number"}

// flagError describes an error of a flag in one sentence, with the flag that was probably
// meant.
func flagError(c *cobra.Command, err error) error {
	if bad, ok := errors.AsType[*pflag.InvalidValueError](err); ok && wantedOf[bad.GetFlag().Value.Type()] != "" {
		return usagef("--%s %s: %s is wanted; see %s --help", bad.GetFlag().Name, bad.GetValue(), wantedOf[bad.GetFlag().Value.Type()], c.CommandPath())
	}
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return usagef("%s; see %s --help", err, c.CommandPath())
	}
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if near := config.Nearest(unknown.GetSpecifiedName(), names); near != "" {
		return usagef("%s; did you mean --%s?", err, near)
	}
	if key := keyOf(unknown.GetSpecifiedName()); key != "" {
		return usagef("%s; a key of the configuration is set with --set %s=VALUE", err, key)
	}
	if unknown.GetSpecifiedName() == "c" {
		return usagef("%s; did you mean --config?", err)
	}
	return usagef("%s; see %s --help", err, c.CommandPath())
}

// keyOf returns the key of the configuration that a flag was mistaken for: --shards and
// --app-id are shards and app_id, --kafka-brokers and --brokers are kafka.brokers.
func keyOf(flag string) string {
	name := strings.ReplaceAll(flag, "-", "_")
	last := ""
	for _, key := range configKeys() {
		switch {
		case key == name || key == flag, strings.ReplaceAll(key, ".", "_") == name:
			return key
		case last == "" && strings.HasSuffix(key, "."+name) && !strings.HasPrefix(key, "rules."):
			last = key
		}
	}
	return last
}

// configKeys returns the keys of the configuration, including those of the rules.
func configKeys() []string {
	s, err := (&app{}).setup() // the defaults, which are valid
	if err != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(s.config.Values()))
}
