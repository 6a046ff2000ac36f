package main

import (
	"cmp"
	"context"
	"encoding/json"
	"regexp"
	"slices"

	"github.com/spf13/cobra"

	"trailhound/config"
	"trailhound/rules"
	"trailhound/rules/explain"
)

func explainCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "explain [ALERT|-]",
		Short: "Show how an alert came about: its events, what the rule remembered before and after each, why it fired",
		Long: "Explain fetches the evidence of an alert from where it came, plays it with the parameters that the alert\n" +
			"names, one event at a time, and prints the time-line. ALERT is the id of an alert in the alerts topic; without\n" +
			"it, or with -, one alert is read from stdin as JSON, as alerts and detect print it.\n\n" +
			"What is not in the input any more is named, and what the alert carries itself takes its place. Nothing is\n" +
			"written anywhere. The exit code is 1 when there is no such alert.",
		Example: "  trailhound explain 8433fb4a-a02b-5f59-bd24-766b9c78c746\n  trailhound detect ./cloudtrail | head -n 1 | trailhound explain",
		Args:    cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("explain wants one alert; got %d", len(args))
			}
			id := cmp.Or(append(args, "-")[0], "-")
			if id != "-" && !uuidForm.MatchString(id) {
				return usagef("explain %s: that is no id of an alert; one is like 8433fb4a-a02b-5f59-bd24-766b9c78c746, and trailhound alerts shows them", id)
			}
			return explainAlert(c.Context(), a, id, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

func explainAlert(ctx context.Context, a *app, id string, asJSON bool) error {
	s, err := a.setup()
	if err != nil {
		return err
	}
	in := &explainInput{app: a, setup: s, local: id == "-"}
	defer in.close()
	payload, err := in.alert(ctx, id)
	if err != nil {
		return err
	}
	alert, err := explain.ReadAlert(payload)
	if err != nil {
		return err
	}
	limits := s.limits()
	limits.MaxLateness, limits.MaxAhead = 0, 0
	x := explain.Explainer{
		Alert: alert, Decoder: s.decoder(), Limits: limits, State: s.stateOptions(limits), Off: !s.config.Rules[alert.RuleID], Read: in.read,
		Decode: func(parameters json.RawMessage, rule rules.Rule) error {
			node, err := config.ParseYAML("parameters", parameters)
			if err != nil {
				return err
			}
			return config.DecodeParams("parameters", node, rule)
		},
	}
	if i := slices.IndexFunc(s.known, func(k knownRule) bool { return k.spec.ID == alert.RuleID }); i >= 0 {
		x.Rule = s.known[i].rule
	}
	e, err := x.Explain(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		return a.jsonLine(e)
	}
	return printExplanation(a, alert, e)
}

// uuidForm matches the ids of alerts and of CloudTrail's events.
var uuidForm = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
