package config

import (
	"regexp"
	"slices"
	"strings"
)

// FileVariable names the configuration file when the flag --config does not.
const FileVariable = EnvPrefix + "CONFIG"

// serviceLink matches the variables that Kubernetes sets in every pod for a Service with a
// name that begins with "trailhound": they are not meant for the program.
// https://kubernetes.io/docs/tutorials/services/connect-applications-service/#environment-variables
var serviceLink = regexp.MustCompile(`^TRAILHOUND_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

// variable is the name of the environment variable for the key at path.
func variable(path string) string {
	return EnvPrefix + strings.NewReplacer(".", "_", "-", "_").Replace(strings.ToUpper(path))
}

// environment applies all variables with the prefix, in the order of their names. An empty one counts as absent.
func (l *loader) environment(env []string) {
	fields := make(map[string]*field, len(l.fields.list))
	names := make([]string, 0, len(l.fields.list))
	for _, f := range l.fields.list {
		fields[variable(f.path)] = f
		names = append(names, variable(f.path))
	}
	for _, pair := range slices.Sorted(slices.Values(env)) {
		name, value, _ := strings.Cut(pair, "=")
		at := Origin{Source: FromEnvironment, Name: name}
		f := fields[name]
		switch {
		case !strings.HasPrefix(name, EnvPrefix), name == FileVariable, strings.HasPrefix(name, EnvPrefix+"TEST_"):
		case f == nil && serviceLink.MatchString(name):
		case f == nil:
			l.problem(at, "", "%s", unknownVariable(name, names))
		case value != "":
			l.text(f, value, at)
		}
	}
}

func unknownVariable(name string, names []string) string {
	if near := Nearest(name, names); near != "" {
		return "no key has this variable; did you mean " + near + "?"
	}
	return "no key has this variable; see trailhound config print, whose key kafka.brokers is " + variable("kafka.brokers")
}
