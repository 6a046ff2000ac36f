package config

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"trailhound/config/duration"
)

// checks are the rules that no tag can tell; each returns the problem with the key at path, or "".
var checks = []struct {
	path  string
	check func(*Config) string
}{
	{"app_id", checkAppID},
	{"instance_id", checkInstanceID},
	{"kafka.brokers", checkBrokers},
	{"kafka.request_timeout", checkRequestTimeout},
	{"kafka.tls.ca_file", func(c *Config) string { return needsTLS(c, c.Kafka.TLS.CAFile) }},
	{"kafka.tls.cert_file", func(c *Config) string { return needsTLS(c, c.Kafka.TLS.CertFile) }},
	{"kafka.tls.key_file", checkKeyPair},
	{"kafka.tls.server_name", func(c *Config) string { return needsTLS(c, c.Kafka.TLS.ServerName) }},
	{"kafka.sasl.mechanism", checkMechanism},
	{"kafka.sasl.username", checkUser},
	{"kafka.sasl.password", checkPassword},
	{"kafka.sasl.token", checkToken},
	{"kafka.sasl.oauth.token_url", checkTokenURL},
	{"kafka.sasl.oauth.client_id", checkClientID},
	{"kafka.sasl.oauth.client_secret", checkClientSecret},
	{"kafka.sasl.oauth.scopes", func(c *Config) string { return needsTokenURL(c, strings.Join(c.Kafka.SASL.OAuth.Scopes, "")) }},
	{"kafka.sasl.oauth.extensions", checkExtensions},
	{"kafka.sasl.aws_region", checkRegion},
	{"topics.input", checkInput},
	{"topics.alerts", checkAlerts},
	{"topics.dead_letter", checkDeadLetter},
	{"topics.replication", checkReplication},
	{"state_dir", func(c *Config) string { return wanted(c.StateDir, "a directory") }},
	{"kafka.client_id", func(c *Config) string { return wanted(c.Kafka.ClientID, "a name") }},
	{"http.listen", checkListen},
}

// check returns the problems of all values: by the tags, and if those hold by the checks.
func (c *Config) check() Problems {
	var problems Problems
	add := func(path, text string) {
		if text != "" {
			problems = append(problems, &Problem{Origin: c.origins[path], Path: path, Text: text})
		}
	}
	for _, f := range c.fields.list {
		add(f.path, f.check())
	}
	if len(problems) > 0 {
		return problems
	}
	for _, k := range checks {
		add(k.path, k.check(c))
	}
	return problems
}

func wanted(value, what string) string {
	if value == "" {
		return what + " is missing"
	}
	return ""
}

var appID = regexp.MustCompile(`^[a-z0-9_-]{1,200}$`)

func checkAppID(c *Config) string {
	if !appID.MatchString(c.AppID) {
		return fmt.Sprintf("%s is not an application id; use a-z, 0-9, _ and -, at most 200", quote(c.AppID))
	}
	return ""
}

// checkInstanceID allows the names that a broker allows as group.instance.id (KIP-345).
func checkInstanceID(c *Config) string {
	if id := c.InstanceID; id == "." || id == ".." || len(id) > 249 || legalName(id, len(id)) != id {
		return fmt.Sprintf("%s is not an instance id; use letters, digits, ., _ and -, at most 249", quote(id))
	}
	return ""
}

func checkBrokers(c *Config) string {
	if len(c.Kafka.Brokers) == 0 {
		return "a broker is missing; write [host:port]"
	}
	for _, broker := range c.Kafka.Brokers {
		if text := address(broker); text != "" {
			return text
		}
	}
	return ""
}

// address returns the problem with host:port, or "".
func address(s string) string {
	if ip, err := netip.ParseAddr(s); err == nil && ip.Is6() {
		return fmt.Sprintf("%q has no port; write [%s]:9092", s, s)
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil && strings.Contains(err.Error(), "missing port") {
		return fmt.Sprintf("%s has no port; write %s:9092", quote(s), clip(s))
	}
	if err != nil || host == "" || strings.ContainsAny(host, " /") {
		return fmt.Sprintf("%s is not host:port", quote(s))
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Sprintf("%s is not host:port; the port is a number from 1 to 65535", quote(s))
	}
	return ""
}

func checkRequestTimeout(c *Config) string {
	if c.Kafka.RequestTimeout >= c.Kafka.TransactionTimeout {
		return fmt.Sprintf("%s is not shorter than kafka.transaction_timeout, %s: a transaction would be aborted while its request is still waited for",
			duration.Format(c.Kafka.RequestTimeout), duration.Format(c.Kafka.TransactionTimeout))
	}
	return ""
}

func needsTLS(c *Config, value string) string {
	if value != "" && !c.Kafka.TLS.Enabled {
		return "has no effect without kafka.tls.enabled: true"
	}
	return ""
}

func checkKeyPair(c *Config) string {
	if (c.Kafka.TLS.CertFile == "") != (c.Kafka.TLS.KeyFile == "") {
		return "kafka.tls.cert_file and kafka.tls.key_file are given together or not at all"
	}
	return needsTLS(c, c.Kafka.TLS.KeyFile)
}

func checkInput(c *Config) string {
	if len(c.Topics.Input) == 0 {
		return "an input topic is missing"
	}
	for i, name := range c.Topics.Input {
		if text := TopicName(name); text != "" {
			return text
		}
		if slices.Contains(c.Topics.Input[:i], name) {
			return fmt.Sprintf("%s is given twice", name)
		}
		if internal(c, name) {
			return fmt.Sprintf("%s is a topic of the application itself", name)
		}
	}
	return ""
}

func checkAlerts(c *Config) string { return checkOutput(c, c.Topics.Alerts) }

func checkDeadLetter(c *Config) string {
	if c.Topics.DeadLetter == c.Topics.Alerts {
		return fmt.Sprintf("%s is the topic of the alerts; give another", c.Topics.DeadLetter)
	}
	return checkOutput(c, c.Topics.DeadLetter)
}

// checkOutput refuses an output topic that is read again: its records would come round for ever.
func checkOutput(c *Config, name string) string {
	if text := TopicName(name); text != "" {
		return text
	}
	if slices.Contains(c.Topics.Input, name) {
		return fmt.Sprintf("%s is an input topic too; give another", name)
	}
	if internal(c, name) {
		return fmt.Sprintf("%s is a topic of the application itself; give another", name)
	}
	return ""
}

func internal(c *Config, topic string) bool {
	return topic == c.AppID+".work" || topic == c.AppID+".state"
}

func checkReplication(c *Config) string {
	if c.Topics.Replication == 0 {
		return "0 is not a replication factor; write -1 for the brokers' default, or 1 and more"
	}
	return ""
}

func checkListen(c *Config) string {
	listen := c.HTTP.Listen
	if listen == "" {
		return ""
	}
	_, port, err := net.SplitHostPort(listen)
	if err != nil {
		return fmt.Sprintf("%s is not an address; write host:port, or :9464 for all interfaces", quote(listen))
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Sprintf("%s is not an address; the port is a number up to 65535", quote(listen))
	}
	return ""
}
