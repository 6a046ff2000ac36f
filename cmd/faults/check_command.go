package main

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// checkOptions are the flags of verify.
type checkOptions struct {
	checkSettings
	brokers, inputs, alerts, letters string
	json                             bool
}

// verify is the command that checks alerts against their input, in files or topics.
func verify(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, code := parseCheck(args, stderr)
	if code >= 0 {
		return code
	}
	c := newCheck(o.checkSettings)
	err := o.read(ctx, c)
	if err == nil {
		err = c.judge().write(stdout, o.json)
	}
	if err != nil {
		fmt.Fprintln(stderr, "faults verify:", err)
		return exitFailed
	}
	if !c.passed() {
		return exitFailed
	}
	return exitDone
}

// ruleFlags adds the parameters of the rules.
func (s *checkSettings) ruleFlags(flags *flag.FlagSet) {
	flags.IntVar(&s.Threshold, "threshold", 10, "rules.access_denied.threshold")
	flags.DurationVar(&s.Window, "window", time.Hour, "rules.access_denied.window")
	flags.BoolVar(&s.Sliding, "sliding", false, "rules.access_denied.window_kind is sliding")
	flags.BoolVar(&s.DeniedFamily, "denied-family", false, "rules.access_denied.denied_family")
	flags.StringVar(&s.Principal, "principal", "session", "rules.access_denied.principal: session, role or user")
	flags.BoolVar(&s.Services, "services", false, "ignore_aws_services is false")
	flags.BoolVar(&s.Remember, "remember", false, "rules.assume_role_unique_ip.remember")
	flags.DurationVar(&s.Suppress, "suppress", 0, "suppress of both rules")
}

func parseCheck(args []string, stderr io.Writer) (o checkOptions, code int) {
	flags := flag.NewFlagSet("faults verify", flag.ContinueOnError)
	flags.SetOutput(stderr)
	o.ruleFlags(flags)
	names := flags.String("event-names", "AssumeRole", "rules.assume_role_unique_ip.event_names, comma-separated")
	flags.StringVar(&o.brokers, "brokers", "", "brokers, comma-separated: input, alerts and dead letters are topics; without: files")
	flags.StringVar(&o.inputs, "input", "", "input, comma-separated; files as given to detect, in that order: JSON values, plain or gzip")
	flags.StringVar(&o.alerts, "alerts", "", "alerts: a topic, or a file with one a line")
	flags.StringVar(&o.letters, "dead-letters", "", "dead letters: a topic, or what detect --report-all says on stderr (FILE:RECORD:REASON)")
	flags.BoolVar(&o.json, "json", false, "report in JSON")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, exitDone
		}
		return o, exitUsage
	}
	o.EventNames = strings.Split(*names, ",")
	switch {
	case flags.NArg() > 0:
		fmt.Fprintf(stderr, "faults verify takes no arguments, only flags: %q\n", flags.Arg(0))
	case o.inputs == "" || o.alerts == "":
		fmt.Fprintln(stderr, "faults verify needs --input and --alerts")
	case o.Threshold < 1 || o.Window <= 0 || !slices.Contains([]string{"session", "role", "user"}, o.Principal):
		fmt.Fprintln(stderr, "--threshold and --window must be positive, --principal session, role or user")
	default:
		return o, -1
	}
	return o, exitUsage
}

// read takes in all that is to be compared.
func (o *checkOptions) read(ctx context.Context, c *check) error {
	if o.brokers != "" {
		return c.readTopics(ctx, strings.Split(o.brokers, ","), strings.Split(o.inputs, ","), o.alerts, o.letters)
	}
	for name := range strings.SplitSeq(o.inputs, ",") {
		if err := c.readFile(name); err != nil {
			return err
		}
	}
	if err := eachLine(o.alerts, func(line []byte) error { c.alert(line); return nil }); err != nil {
		return err
	}
	if o.letters == "" {
		return nil
	}
	return eachLine(o.letters, func(line []byte) error { c.rejectedLine(string(line)); return nil })
}

// openFile opens a file that may be gzip.
func openFile(name string) (io.Reader, io.Closer, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, err
	}
	r := bufio.NewReaderSize(f, 1<<20)
	if magic, _ := r.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(r)
		if err != nil {
			f.Close()
			return nil, nil, fmt.Errorf("%s: %w", name, err)
		}
		return bufio.NewReaderSize(z, 1<<20), f, nil
	}
	return r, f, nil
}

// eachLine calls take for each non-empty line of a file.
func eachLine(name string, take func([]byte) error) error {
	r, f, err := openFile(name)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 256<<20)
	for lines.Scan() {
		if line := bytes.TrimSpace(lines.Bytes()); len(line) > 0 {
			if err := take(line); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// readFile takes in a file of events. Its records are the JSON values in it, in order.
func (c *check) readFile(name string) error {
	at := place{Topic: name}
	take := func(value []byte) {
		c.input(value, at)
		at.Offset++
	}
	return eachLine(name, func(line []byte) error {
		if line[0] == '{' && line[len(line)-1] == '}' && !bytes.Contains(line, []byte("}{")) && !c.matters(line) {
			take(line) // no rule looks at the record; only its place counts
			return nil
		}
		for d := json.NewDecoder(bytes.NewReader(line)); ; {
			var one json.RawMessage
			switch err := d.Decode(&one); {
			case errors.Is(err, io.EOF):
				return nil
			case err != nil:
				take(line[d.InputOffset():]) // text that is not JSON is a record to the end of its line
				return nil
			}
			take(one)
		}
	})
}

var rejectedForm = regexp.MustCompile(`^(.+):(\d+):([a-z_]+): (?:event (\d+): )?`)

// rejectedLine takes in a line by which detect says that a record could not be evaluated,
// and skips any other line.
func (c *check) rejectedLine(line string) {
	m := rejectedForm.FindStringSubmatch(line)
	if m == nil {
		return
	}
	offset, _ := strconv.ParseInt(m[2], 10, 64)
	index, _ := strconv.Atoi(cmp.Or(m[4], "0"))
	c.letter(m[3], "", place{Topic: m[1], Offset: offset, Index: index})
}

// readTopics takes in the records committed in topics by now; a topic of dead letters is optional.
func (c *check) readTopics(ctx context.Context, brokers, inputs []string, alerts, letters string) error {
	v := newVerifier(brokers, verifyTopics{}, oracleSettings{})
	if err := v.open(); err != nil {
		return err
	}
	defer v.close()
	each := func(topic string, take func(*kgo.Record)) error {
		ends, err := v.stableEnds(ctx, topic)
		if err != nil {
			return err
		}
		return v.each(ctx, topic, ends, take)
	}
	for _, topic := range inputs {
		err := each(topic, func(r *kgo.Record) { c.input(r.Value, place{Topic: topic, Partition: r.Partition, Offset: r.Offset}) })
		if err != nil {
			return err
		}
	}
	if err := each(alerts, func(r *kgo.Record) { c.alert(r.Value) }); err != nil || letters == "" {
		return err
	}
	return each(letters, func(r *kgo.Record) {
		if l, err := readLetter(r); err == nil {
			c.letter(l.Reason, l.Rule, l.place)
		} else {
			c.Untrue++
			c.example("untrue: dead letter at offset %d: %v", r.Offset, err)
		}
	})
}

// write prints the judgement for people, or as one JSON value.
func (v *judgement) write(w io.Writer, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(v)
	}
	text := ""
	for _, rule := range slices.Sorted(maps.Keys(v.Alerts)) {
		text += fmt.Sprintf(" %s %d,", rule, v.Alerts[rule])
	}
	text = fmt.Sprintf("events for a rule %d, duplicates %d, dead letters %d; alerts:%s\nuntrue %d, missed %d, doubled %d, too late %d; keys whose missed alerts depend on the order: %d\n",
		v.Events, v.Copies, v.Rejected, strings.TrimSuffix(cmp.Or(text, " none"), ","), v.Untrue, v.Missed, v.Doubled, v.TooLate, v.Unchecked)
	for _, e := range v.Examples {
		text += "  " + e + "\n"
	}
	_, err := io.WriteString(w, text)
	return err
}
