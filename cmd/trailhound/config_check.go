package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"trailhound/config"
	"trailhound/consumer/kafka/security"
)

// fileNames are the usual names of a configuration file. No file is read by default, so
// config check points out one of these that no flag or variable names.
var fileNames = []string{"trailhound.yaml", "trailhound.yml"}

func configCheckCommand(a *app) *cobra.Command {
	check := &configCheck{app: a}
	c := &cobra.Command{
		Use:   "check",
		Short: "Check the configuration, and list everything that is wrong with it",
		Long: "Check the configuration file, the TRAILHOUND_ variables and --set, open the files that they name, see whether\n" +
			"state_dir can be written, say what was read, and list everything that is wrong. Kafka is not asked;\n" +
			"trailhound topics check does that.",
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return check.execute() },
	}
	c.Flags().BoolVar(&check.keysOnly, "no-files", false, "look at no file or directory that a value names: for the configuration of another host")
	c.Flags().BoolVar(&check.asJSON, "json", false, "print one JSON object")
	return c
}

// configCheck is one run of config check.
type configCheck struct {
	app              *app
	keysOnly, asJSON bool
}

// checked is the outcome of config check, as JSON.
type checked struct {
	OK       bool             `json:"ok"`
	File     string           `json:"file"`     // "": none
	GivenBy  string           `json:"given_by"` // --config or TRAILHOUND_CONFIG
	Unread   string           `json:"unread"`   // a file with a usual name, which is not read
	Keys     keysGiven        `json:"keys"`
	Rules    []string         `json:"rules"`
	RulesOn  []string         `json:"rules_on"`
	Warnings []string         `json:"warnings"`
	Problems []checkedProblem `json:"problems"`
}

// keysGiven counts the values in effect by their sources.
type keysGiven struct {
	File      int `json:"file"`
	Variables int `json:"variables"`
	Set       int `json:"set"`
}

type checkedProblem struct {
	Where string `json:"where"` // a place in the file, a variable, a --set, or ""
	Key   string `json:"key"`
	Text  string `json:"text"`
}

func (c *configCheck) execute() error {
	out := checked{Rules: ruleIDs(), RulesOn: []string{}, Warnings: []string{}, Problems: []checkedProblem{}}
	out.File, out.GivenBy = c.app.fileAndWay()
	if out.File == "" {
		out.Unread = unreadFile()
	}
	s, err := c.app.setup()
	if err == nil {
		out.Keys = keysGiven{s.config.Given(config.FromFile), s.config.Given(config.FromEnvironment), s.config.Given(config.FromFlag)}
		for _, active := range s.active {
			out.RulesOn = append(out.RulesOn, active.Rule.Info().ID)
		}
		if len(s.active) == 0 {
			out.Warnings = append(out.Warnings, "no rule is on: nothing would be evaluated")
		}
		if !c.keysOnly {
			err = s.checkPaths(true)
		}
	}
	problems, wrong := errors.AsType[config.Problems](err)
	if err != nil && !wrong {
		return err
	}
	out.OK = err == nil
	for _, p := range problems {
		where := ""
		if p.Origin.Source != config.FromDefault {
			where = p.Origin.String()
		}
		out.Problems = append(out.Problems, checkedProblem{Where: where, Key: p.Path, Text: p.Text})
	}
	return errors.Join(c.print(&out), err)
}

func (c *configCheck) print(out *checked) error {
	if c.asJSON {
		return c.app.jsonLine(out)
	}
	for _, w := range out.Warnings {
		fmt.Fprintln(c.app.stderr, "warning: "+w)
	}
	if !out.OK {
		return nil
	}
	if _, err := fmt.Fprintln(c.app.stdout, printable(out.sources())); err != nil {
		return err
	}
	_, err := fmt.Fprintf(c.app.stdout, "the configuration is right; rules that are on: %d of %d\n", len(out.RulesOn), len(out.Rules))
	return err
}

// sources describes in a sentence the sources that were read.
func (o *checked) sources() string {
	var b strings.Builder
	switch {
	case o.File == "":
		b.WriteString("no file is read: defaults")
	case o.Keys.File == 0:
		fmt.Fprintf(&b, "read: %s (%s), which sets nothing: it is empty, or holds nothing but comments and keys without values", o.File, o.GivenBy)
	default:
		fmt.Fprintf(&b, "read: %s (%s)", o.File, o.GivenBy)
	}
	if o.Keys.Variables > 0 {
		b.WriteString(", " + counted(o.Keys.Variables, "variable"))
	}
	if o.Keys.Set > 0 {
		fmt.Fprintf(&b, ", %d --set", o.Keys.Set)
	}
	if o.Unread != "" {
		fmt.Fprintf(&b, "; ./%s exists and is not read: give --config %s", o.Unread, o.Unread)
	}
	return b.String()
}

func unreadFile() string {
	for _, name := range fileNames {
		if info, err := os.Stat(name); err == nil && !info.IsDir() {
			return name
		}
	}
	return ""
}

// checkPaths opens the files that the configuration names and, with directories, checks
// that its directories can be written. The error is config.Problems.
func (s *setup) checkPaths(directories bool) error {
	var problems config.Problems
	for _, p := range s.config.Paths() {
		var err error
		switch {
		case !p.Directory:
			err = s.readFile(p)
		case directories:
			err = canWrite(p.Path)
		}
		if err != nil {
			text := strings.TrimPrefix(err.Error(), p.Key+": ")
			problems = append(problems, &config.Problem{Origin: s.config.Origin(p.Key), Path: p.Key, Text: text})
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return problems
}

// readFile checks the file of a key by reading it as a connection does.
func (s *setup) readFile(p config.Path) error {
	t := s.config.Kafka.TLS
	switch p.Key {
	case "kafka.tls.ca_file":
		_, err := security.TLS{CAFile: p.Path}.Read()
		return err
	case "kafka.tls.cert_file", "kafka.tls.key_file":
		if _, err := os.ReadFile(p.Path); err != nil || p.Path == t.CertFile {
			return err
		}
		_, err := security.TLS{CertFile: t.CertFile, KeyFile: t.KeyFile}.Read()
		if _, unread := errors.AsType[*fs.PathError](err); unread {
			return nil // reported for kafka.tls.cert_file
		}
		return err
	}
	_, err := security.Secret(p.Key, p.Path, "")
	return err
}

// canWrite returns the error of creating a file in dir or, if dir is missing, of creating
// dir. It leaves nothing behind.
func canWrite(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case err == nil && !info.IsDir():
		return fmt.Errorf("%s is a file; name a directory", dir)
	case err == nil:
		f, err := os.CreateTemp(dir, ".trailhound-check-")
		if err != nil {
			return fmt.Errorf("nothing can be written there by this user: %w", err)
		}
		return errors.Join(f.Close(), os.Remove(f.Name()))
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	above := filepath.Dir(filepath.Clean(dir))
	for {
		if _, err := os.Stat(above); err == nil || above == filepath.Dir(above) {
			break
		}
		above = filepath.Dir(above)
	}
	made, err := os.MkdirTemp(above, ".trailhound-check-")
	if err != nil {
		return fmt.Errorf("%s does not exist and cannot be made by this user: %w", dir, err)
	}
	return os.Remove(made)
}
