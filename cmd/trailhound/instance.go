package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"trailhound/config"
	"trailhound/consumer"
	"trailhound/consumer/kafka/wire"
)

// askWithin bounds how long an instance may take to answer; its answers wait for nothing.
const askWithin = 5 * time.Second

// mostAnswer bounds how many bytes of an answer are read.
const mostAnswer = 16 << 20

// instance asks a running instance through its HTTP server.
type instance struct {
	app *app
	url string // flag; "": from http.listen
}

func (i *instance) flag(c *cobra.Command) {
	c.Flags().StringVar(&i.url, "url", "", "ask the instance at this `URL`, or HOST:PORT, instead of the one at http.listen")
}

func healthCommand(a *app) *cobra.Command {
	i := &instance{app: a}
	var live, asJSON bool
	c := &cobra.Command{
		Use:   "health",
		Short: "Ask a running instance whether it is ready; exit 1 with the reason if it is not",
		Long: "Health asks the instance at http.listen for /readyz: whether everything that is assigned to it is worked on.\n" +
			"With --live it asks for /livez, which a long restore does not make fail: that is for checks that restart.",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			path := "/readyz"
			if live {
				path = "/livez"
			}
			answer, err := i.ask(c.Context(), http.MethodGet, path)
			if asJSON {
				return healthJSON(a, err)
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.stdout, printable(strings.TrimSpace(string(answer))))
			return err
		},
	}
	i.flag(c)
	c.Flags().BoolVar(&live, "live", false, "ask only whether it runs")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

// healthJSON prints whether an instance is well and, if not, the reason, which is also the
// command's error.
func healthJSON(a *app, err error) error {
	if _, usage := errors.AsType[*usageError](err); usage {
		return err // nothing was asked
	}
	if _, wrong := errors.AsType[config.Problems](err); wrong {
		return err
	}
	found := struct {
		OK     bool   `json:"ok"`
		Reason string `json:"reason"`
	}{OK: err == nil}
	if err != nil {
		found.Reason = err.Error()
	}
	return errors.Join(a.jsonLine(found), err)
}

// logLevels are the levels that an instance accepts.
var logLevels = []string{"debug", "info", "warn", "error"}

func logLevelCommand(a *app) *cobra.Command {
	i := &instance{app: a}
	var asJSON bool
	c := &cobra.Command{
		Use:       "log-level [LEVEL]",
		Short:     "Print the log level of a running instance on this host, or change it until it ends",
		ValidArgs: logLevels,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("log-level takes one level: debug, info, warn or error; got %d", len(args))
			}
			if len(args) == 1 && !slices.Contains(logLevels, args[0]) {
				return usagef("unknown level %q; there are debug, info, warn and error", args[0])
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			method, path := http.MethodGet, "/loglevel"
			if len(args) == 1 {
				method, path = http.MethodPut, path+"?level="+url.QueryEscape(args[0])
			}
			answer, err := i.ask(c.Context(), method, path)
			if err != nil {
				return err
			}
			if asJSON {
				return a.jsonLine(map[string]string{"level": strings.TrimSpace(string(answer))})
			}
			_, err = fmt.Fprintln(a.stdout, printable(strings.TrimSpace(string(answer))))
			return err
		},
	}
	i.flag(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

func statusCommand(a *app) *cobra.Command {
	i := &instance{app: a}
	var asJSON, ofGroup bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show what a running instance works on: partitions, shards, how far they are, what is wrong",
		Long: "Status asks one instance, the one at http.listen, what it works on, how far that is and what is wrong.\n" +
			"With --group it asks Kafka instead, and no instance need answer: which instances there are, who works on\n" +
			"what, what has no owner, and how far the group has committed. Commits follow within a second or two; until then\n" +
			"LAG is more than that of the instance, and a transaction's marker, which takes an offset, counts as a record.",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if ofGroup && i.url != "" {
				return usagef("--group asks Kafka, and --url an instance; give one of them")
			}
			if ofGroup {
				return a.withKafka(c.Context(), func(s *setup, client *wire.Client) error { return showGroup(c.Context(), a, s, client, asJSON) })
			}
			answer, err := i.ask(c.Context(), http.MethodGet, "/status")
			if err != nil {
				return err
			}
			if asJSON {
				_, err = a.stdout.Write(answer)
				return err
			}
			var s consumer.Status
			if err := json.Unmarshal(answer, &s); err != nil {
				return fmt.Errorf("read the answer to /status: %w", err)
			}
			return printStatus(a.columns(a.stdout), &s)
		},
	}
	i.flag(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print /status as it is, or the group as one JSON object")
	c.Flags().BoolVar(&ofGroup, "group", false, "show all instances and what has no owner, as Kafka knows them")
	return c
}

// printStatus writes a status for people.
func printStatus(out flusher, s *consumer.Status) error {
	state := "ready"
	if !s.Ready {
		state = "not ready: " + s.Missing
	}
	fmt.Fprintf(out, "app %s, instance %s: %s\n", printable(s.App), printable(s.Instance), printable(state))
	if len(s.Inputs) > 0 {
		fmt.Fprint(out, "\nINPUT\tPARTITION\tNEXT\tLAG\tPROBLEM\n")
	}
	for _, in := range s.Inputs {
		fmt.Fprintf(out, "%s\t%d\t%d\t%d\t%s\n", printable(in.Topic), in.Partition, in.Next, in.Lag, printable(in.Problem))
	}
	if len(s.Shards) > 0 {
		fmt.Fprint(out, "\nSHARD\tREADY\tNEXT\tLAG\tTO RESTORE\tPROBLEM\n")
	}
	for _, h := range s.Shards {
		fmt.Fprintf(out, "%d\t%t\t%d\t%d\t%d\t%s\n", h.Shard, h.Ready, h.Next, h.Lag, h.Restoring, printable(h.Problem))
	}
	if len(s.Outputs) > 0 {
		fmt.Fprintln(out)
	}
	for _, problem := range s.Outputs {
		fmt.Fprintln(out, printable(problem))
	}
	return out.Flush()
}

// ask sends one request and returns the answer; a status other than 200 is an error with
// the text of the answer.
func (i *instance) ask(ctx context.Context, method, path string) ([]byte, error) {
	base, err := i.base()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, base+path, nil)
	if err != nil {
		return nil, usagef("--url %s: %v", i.url, err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // the error below names the URL
		}
		return nil, fmt.Errorf("no instance answers at %s: %w; does it run, and is that its http.listen?", base, err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, mostAnswer))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, base+path, err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s", strings.TrimSpace(string(answer)))
	}
	return answer, nil
}

// base is the URL of the instance. A server that listens at every address is asked at the loopback one.
func (i *instance) base() (string, error) {
	if i.url != "" {
		given := i.url
		if !strings.Contains(given, "://") {
			given = "http://" + given
		}
		u, err := url.Parse(given)
		if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
			return "", usagef("--url %s: want http://HOST:PORT", i.url)
		}
		return strings.TrimSuffix(given, "/"), nil
	}
	s, err := i.app.setup()
	if err != nil {
		return "", err
	}
	if s.config.HTTP.Listen == "" {
		return "", fmt.Errorf("http.listen is empty: the instance has no HTTP server to ask; name one with --url")
	}
	host, port, err := net.SplitHostPort(s.config.HTTP.Listen)
	if err != nil {
		return "", fmt.Errorf("http.listen: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.Equal(net.IPv4zero) {
		host = "127.0.0.1"
	} else if ip != nil && ip.IsUnspecified() {
		host = "::1"
	}
	return "http://" + net.JoinHostPort(host, port), nil
}
