package main

import (
	"context"
	"crypto/tls"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"trailhound/consumer/kafka/wire"
)

// right is one permission that a purpose needs: an operation on a resource, as
// kafka-acls.sh names them.
type right struct{ operation, resource, name string }

// MarshalJSON implements [json.Marshaler]. A name that ends in * is a prefix.
func (r right) MarshalJSON() ([]byte, error) {
	name, prefixed := strings.CutSuffix(r.name, "*")
	pattern := "literal"
	if prefixed {
		pattern = "prefixed"
	}
	return json.Marshal(map[string]string{"operation": r.operation, "resource_type": r.resource, "name": name, "pattern": pattern})
}

// printedACLs is the JSON output of acls print.
type printedACLs struct {
	Principal string   `json:"principal"`
	Rights    []right  `json:"rights"`
	Commands  []string `json:"commands"`
}

func (r right) String() string {
	return fmt.Sprintf("%s on %s %s", r.operation, strings.ReplaceAll(r.resource, "-", " "), r.name)
}

//go:embed acls.txt
var aclsText string

// acls are the rights of acls.txt by purpose, with its placeholders for names; purposes are in the order of its lines.
var purposes, acls = parseACLs(aclsText)

func parseACLs(text string) (purposes []string, acls map[string][]right) {
	acls = make(map[string][]right)
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) != 4 || f[0] == "#" {
			continue
		}
		if acls[f[0]] == nil {
			purposes = append(purposes, f[0])
		}
		acls[f[0]] = append(acls[f[0]], right{operation: f[1], resource: f[2], name: f[3]})
	}
	return purposes, acls
}

// rights returns the permissions that a purpose needs, with the names of the configuration;
// nil for an unknown purpose.
func (s *setup) rights(purpose string) (list []right) {
	app := s.topology()
	names := map[string][]string{
		"APP": {app.ID}, "APP.*": {app.ID + ".*"}, "APP.work": {app.WorkTopic()}, "APP.state": {app.StateTopic()},
		"INPUT": app.Inputs, "ALERTS": {app.Alerts}, "DEAD-LETTER": {app.DeadLetter},
	}
	for _, r := range acls[purpose] {
		for _, name := range names[r.name] {
			list = append(list, right{r.operation, r.resource, name})
		}
	}
	return list
}

// adminProperties stands for the file by which kafka-acls.sh connects as an administrator to brokers with TLS or SASL.
const adminProperties = "admin.properties"

// grants returns the commands that grant rights to a principal, one for each resource.
func (s *setup) grants(list []right, principal, commandConfig string) []string {
	var resources []right
	if commandConfig == "" && (s.config.Kafka.TLS.Enabled || s.config.Kafka.SASL.Mechanism != "none") {
		commandConfig = adminProperties
	}
	operations := make(map[right][]string)
	for _, r := range list {
		resource := right{resource: r.resource, name: r.name}
		if operations[resource] == nil {
			resources = append(resources, resource)
		}
		operations[resource] = append(operations[resource], r.operation)
	}
	var commands []string
	for _, r := range resources {
		var b strings.Builder
		fmt.Fprintf(&b, "kafka-acls.sh --bootstrap-server %s", strings.Join(s.config.Kafka.Brokers, ","))
		if commandConfig != "" {
			fmt.Fprintf(&b, " --command-config %s", quoted(commandConfig))
		}
		fmt.Fprintf(&b, " --add --allow-principal %s", quoted(principal))
		for _, o := range operations[r] {
			b.WriteString(" --operation " + o)
		}
		if prefix, ok := strings.CutSuffix(r.name, "*"); ok {
			fmt.Fprintf(&b, " --%s %s --resource-pattern-type prefixed", r.resource, prefix)
		} else {
			fmt.Fprintf(&b, " --%s %s", r.resource, r.name)
		}
		commands = append(commands, b.String())
	}
	return commands
}

// quoted is a word for a POSIX shell.
func quoted(word string) string {
	plain := func(r rune) bool {
		return r < 0x80 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_./:=,@%+-", r))
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// unknownPrincipal stands in where the configuration does not tell the principal that
// brokers authenticate.
const unknownPrincipal = "User:NAME"

// principal returns the account's name in Kafka's ACLs: the SASL user name, or the DN of
// the client certificate, which brokers with ssl.principal.mapping.rules map to another
// name; [unknownPrincipal] where the configuration does not tell.
func (s *setup) principal() string {
	switch s.config.Kafka.SASL.Mechanism {
	case "plain", "scram-sha-256", "scram-sha-512":
		return "User:" + s.config.Kafka.SASL.Username
	case "oauthbearer", "aws-msk-iam":
		return unknownPrincipal
	}
	if s.config.Kafka.TLS.Enabled && s.config.Kafka.TLS.CertFile != "" {
		if pair, err := tls.LoadX509KeyPair(s.config.Kafka.TLS.CertFile, s.config.Kafka.TLS.KeyFile); err == nil && pair.Leaf != nil {
			return "User:" + pair.Leaf.Subject.String()
		}
	}
	return unknownPrincipal
}

func aclsCommand(a *app) *cobra.Command {
	var user, commandConfig string
	var asJSON bool
	c := &cobra.Command{
		Use:   "print [PURPOSE]...",
		Short: "Print the kafka-acls.sh commands that grant an account what it needs",
		Long: "Print writes the commands that grant an account the least that it needs, one for each resource, with the names\n" +
			"of the configuration. PURPOSE is one or more of these, run without one:\n" +
			strings.Join(purposes, ", ") + ".\n" +
			"Nothing is asked of Kafka.",
		RunE: func(c *cobra.Command, args []string) error {
			s, err := a.setup()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				args = []string{"run"}
			}
			var list []right
			for _, purpose := range args {
				rights := s.rights(purpose)
				if rights == nil {
					return usagef("there is no purpose %q; there are %s", purpose, strings.Join(purposes, ", "))
				}
				for _, r := range rights {
					if !slices.Contains(list, r) {
						list = append(list, r)
					}
				}
			}
			principal := s.principal()
			if user != "" {
				principal = "User:" + strings.TrimPrefix(user, "User:")
			}
			if principal == unknownPrincipal {
				fmt.Fprintln(a.stderr, "note: the configuration does not tell the account's name; give it with --user")
			} else if s.config.Kafka.SASL.Mechanism == "none" && user == "" {
				fmt.Fprintln(a.stderr, "note: the principal is the DN of kafka.tls.cert_file; brokers with ssl.principal.mapping.rules may have another name for it")
			}
			commands := s.grants(list, principal, commandConfig)
			if asJSON {
				return a.jsonLine(printedACLs{principal, list, commands})
			}
			for _, command := range commands {
				if _, err := fmt.Fprintln(a.stdout, command); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().StringVar(&user, "user", "", "grant to this `NAME`, User:NAME in Kafka's ACLs, instead of the configuration's account")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object: the rights, and the commands")
	c.Flags().StringVar(&commandConfig, "command-config", "", "`FILE` with which kafka-acls.sh connects; "+adminProperties+" unless it is given, where the configuration has TLS or SASL")
	g := parent(&cobra.Command{Use: "acls", Short: "Print what an account needs in Kafka's ACLs"})
	g.AddCommand(c)
	return g
}

// missing returns the rights for a purpose that the brokers deny this client, as far as
// brokers report rights. The error is that of brokers that do not report them.
func (s *setup) missing(ctx context.Context, client *wire.Client, purpose string) ([]right, error) {
	list := s.rights(purpose)
	var names []string
	for _, r := range list {
		if r.resource == "topic" && !slices.Contains(names, r.name) {
			names = append(names, r.name)
		}
	}
	allowed, err := client.Allowed(ctx, names...)
	if err != nil {
		return nil, err
	}
	denied := make(map[string]bool)
	for _, r := range list {
		if r.resource == "group" || r.resource == "transactional-id" {
			_, lacks := errors.AsType[*wire.DeniedError](client.Coordinated(ctx, strings.TrimSuffix(r.name, "*"), r.resource == "transactional-id"))
			denied[r.resource] = lacks
		}
	}
	return slices.DeleteFunc(list, func(r right) bool {
		if r.resource != "topic" {
			return !denied[r.resource]
		}
		operations, told := allowed[r.name]
		return !told || operations.Has(r.operation)
	}), nil
}

// allRights returns err, which may be the refusal of one right, with all rights that are missing for a purpose.
func (s *setup) allRights(ctx context.Context, client *wire.Client, purpose string, err error) error {
	if _, denied := errors.AsType[*wire.DeniedError](err); !denied {
		return err
	}
	missing, asked := s.missing(ctx, client, purpose)
	if asked != nil || len(missing) == 0 {
		return err
	}
	lines := []string{err.Error()}
	for _, r := range missing {
		lines = append(lines, "not authorized: "+r.String())
	}
	lines = append(lines, "grant what is missing with:")
	return errors.New(strings.Join(append(lines, s.grants(missing, s.principal(), "")...), "\n"))
}

// warnOfRights logs the rights of a running service that are missing, all at once, before it meets them one by one.
func (s *setup) warnOfRights(ctx context.Context, client *wire.Client, log zerolog.Logger) {
	missing, err := s.missing(ctx, client, "run")
	if err != nil {
		log.Debug().Err(err).Str("event", "rights_unknown").Msg("the brokers do not tell what this account may do")
	}
	if len(missing) == 0 {
		return
	}
	lines := make([]string, len(missing))
	for i, r := range missing {
		lines[i] = "not authorized: " + r.String()
	}
	log.Warn().Strs("missing", lines).Strs("remedy", s.grants(missing, s.principal(), "")).Str("event", "rights_missing").Msg("this account lacks rights that the service needs")
}
