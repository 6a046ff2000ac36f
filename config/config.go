// Package config settles the program's configuration: one [Config] from defaults, a YAML
// file, the environment and the command line, in rising order of precedence.
//
// There are few types. [Input] names the sources, [Load] merges them into a [Config], and [Origin] says of each
// effective value where it came from. Rules are known to this package only as a name and the structs that hold
// their parameters ([Rule]); it imports nothing of the program.
//
// Its one guarantee: a value that was given is either in effect or an error. An unknown key, variable or rule is
// never ignored; the error says where it stands and which known name is nearest.
package config

import (
	"fmt"
	"time"
)

// EnvPrefix begins the name of every environment variable that sets a key: kafka.brokers is
// TRAILHOUND_KAFKA_BROKERS.
const EnvPrefix = "TRAILHOUND_"

// Config is the whole configuration. Its keys, defaults and meanings are the table in README.md, which is
// generated from the tags below: yaml names the key, help explains it, range and one limit its values, default
// replaces the default that is shown, secret hides the value, and opens tells that it is the path of a file (read) or a
// directory (write).
type Config struct {
	AppID       string `yaml:"app_id" help:"Name of the application: the consumer group, the prefix of the internal topics (<app_id>.work, <app_id>.state) and of the transactional ids. Letters a-z, digits, _ and -."`
	InstanceID  string `yaml:"instance_id" default:"host name and a hash of state_dir" help:"Name of this instance in the consumer group (static membership, KIP-345): an instance that comes back under the same name within kafka.session_timeout keeps its shards."`
	LeaveOnStop bool   `yaml:"leave_on_stop" help:"Whether an instance that is stopped gives its place in the group up at once, so that the others take its shards over within a second. For instances that are taken away, as by autoscaling; for restarts, leave it off: then nothing moves."`
	Kafka       Kafka  `yaml:"kafka"`
	Topics      Topics `yaml:"topics"`
	Start       string `yaml:"start" one:"earliest latest" help:"Where an input partition is read from when the group has no offset for it: earliest or latest. Partitions that appear later are always read from the earliest record."`
	Shards      int    `yaml:"shards" range:"1..4096" help:"Number of shards, which is the number of partitions of the work and state topics. Fixed for the life of an app_id."`
	StateDir    string `yaml:"state_dir" opens:"write" help:"Directory of the local state, one per instance. It is a copy of the state topic: losing it costs a restore and no data."`
	State       State  `yaml:"state"`
	HTTP        HTTP   `yaml:"http"`
	Events      Events `yaml:"events"`
	Limits      Limits `yaml:"limits"`
	Log         Log    `yaml:"log"`

	AcceptLoss   bool `yaml:"accept_loss" help:"Go on although records were deleted before they were read: a committed offset outside the log is then moved to the nearest record that is left, with a warning."`
	AcceptChange bool `yaml:"accept_change" help:"Accept a list of input topics that differs from the one the stored state was made with."`

	// Rules tells which of the known rules are on. Their parameters are in the targets that were given to Load.
	Rules map[string]bool `yaml:"-"`

	fields   *fieldSet
	origins  map[string]Origin
	sections map[string]Origin
}

// Kafka is the connection to the brokers.
type Kafka struct {
	Brokers            []string      `yaml:"brokers" help:"Brokers to connect to first, each host:port."`
	ClientID           string        `yaml:"client_id" help:"Client id that the brokers see in their logs, metrics and quotas."`
	SessionTimeout     time.Duration `yaml:"session_timeout" range:"6s..30m" help:"How long an instance may be silent before the group gives its shards to others (session.timeout.ms)."`
	TransactionTimeout time.Duration `yaml:"transaction_timeout" range:"1s..15m" help:"How long the open transaction of a dead instance can hold back readers of the alerts topic (transaction.timeout.ms)."`
	RequestTimeout     time.Duration `yaml:"request_timeout" range:"100ms..10m" help:"How long one request to a broker may take. Shorter than transaction_timeout."`
	Compression        string        `yaml:"compression" one:"none gzip snappy lz4 zstd" help:"Compression of everything that is produced: none, gzip, snappy, lz4 or zstd."`
	TLS                TLS           `yaml:"tls"`
	SASL               SASL          `yaml:"sasl"`
}

// TLS is the encryption of connections to the brokers.
type TLS struct {
	Enabled    bool   `yaml:"enabled" help:"Connect with TLS. The files below are read again when they change: new connections use what they say then."`
	CAFile     string `yaml:"ca_file" opens:"read" help:"PEM file of the authorities that sign the brokers' certificates; empty: the system's."`
	CertFile   string `yaml:"cert_file" opens:"read" help:"PEM file of the client certificate, for brokers that ask for one."`
	KeyFile    string `yaml:"key_file" opens:"read" help:"PEM file of the client certificate's private key."`
	ServerName string `yaml:"server_name" help:"Name to expect in the brokers' certificates; empty: the host name that was dialled."`
}

// SASL is the authentication to the brokers.
type SASL struct {
	Mechanism    string `yaml:"mechanism" one:"none plain scram-sha-256 scram-sha-512 oauthbearer aws-msk-iam" help:"How to authenticate: none, plain, scram-sha-256, scram-sha-512, oauthbearer or aws-msk-iam."`
	Username     string `yaml:"username" help:"User name, for plain and scram."`
	Password     string `yaml:"password" secret:"true" help:"Password, for plain and scram. Better given as the environment variable or as password_file."`
	PasswordFile string `yaml:"password_file" opens:"read" help:"File that holds the password; one line break at its end is ignored. It is read again for each authentication."`
	Token        string `yaml:"token" secret:"true" help:"Token, for oauthbearer. As it ends some day, token_file and oauth.token_url are better."`
	TokenFile    string `yaml:"token_file" opens:"read" help:"File that holds the token, for oauthbearer; white space around it is ignored. It is read again for each authentication."`
	OAuth        OAuth  `yaml:"oauth"`
	AWSRegion    string `yaml:"aws_region" help:"Region of the MSK cluster, for aws-msk-iam, which takes the credentials where all AWS tools look for them."`
}

// OAuth is how oauthbearer gets a token from an identity provider, by the client credentials grant (RFC 6749, 4.4).
type OAuth struct {
	TokenURL         string   `yaml:"token_url" help:"Token endpoint that gives tokens for client_id and its secret, for oauthbearer."`
	ClientID         string   `yaml:"client_id" help:"Client id at the token endpoint."`
	ClientSecret     string   `yaml:"client_secret" secret:"true" help:"Client secret at the token endpoint. Better given as the environment variable or as client_secret_file."`
	ClientSecretFile string   `yaml:"client_secret_file" opens:"read" help:"File that holds the client secret; one line break at its end is ignored. It is read again for each token."`
	Scopes           []string `yaml:"scopes" help:"Scopes to ask the token endpoint for."`
	Extensions       []string `yaml:"extensions" help:"Pairs name=value that the brokers are sent with each token (KIP-342), such as logicalCluster=lkc-1."`
}

// Topics are the topics that are read and written, and how missing ones are created.
type Topics struct {
	Input                []string `yaml:"input" help:"Topics of CloudTrail records to read."`
	Alerts               string   `yaml:"alerts" help:"Topic that alerts are written to, one record per alert."`
	DeadLetter           string   `yaml:"dead_letter" help:"Topic for what could not be evaluated: the original bytes, with the reason in the headers."`
	Create               bool     `yaml:"create" help:"Create the missing output and internal topics at start. Input topics are never created."`
	Replication          int      `yaml:"replication" range:"-1..100" help:"Replication factor of created topics; -1: the brokers' default."`
	AlertPartitions      int      `yaml:"alert_partitions" range:"1..10000" help:"Partitions of the alerts topic, when it is created."`
	DeadLetterPartitions int      `yaml:"dead_letter_partitions" range:"1..10000" help:"Partitions of the dead-letter topic, when it is created."`
}

// State bounds the local copy of the state.
type State struct {
	Cache    Bytes         `yaml:"cache" range:"1MiB.." help:"Memory for blocks of the local state; as much again, 3MiB to 16MiB, and twice while it is written to disk, is taken for what is not written yet."`
	Lifetime time.Duration `yaml:"lifetime" range:"1h.." help:"How long, in event time after its last write, a value without an expiry of its own is kept."`
}

// HTTP is the server for probes, metrics and queries.
type HTTP struct {
	Listen string `yaml:"listen" help:"Address of the HTTP server for /livez, /readyz, /metrics and /status; empty: no server. It has no authentication: an address that others reach is for networks that are trusted."`
	Pprof  bool   `yaml:"pprof" help:"Serve Go's profiles under /debug/pprof/ too. They show what the process does, and cost it something: for a look, not for good."`
}

// Events bounds the events that are evaluated. All spans are event time; 0 turns a limit off.
type Events struct {
	DuplicatesWithin time.Duration `yaml:"duplicates_within" range:"0.." help:"An event with the eventID of one that was evaluated for the same rule and key within this span is not evaluated again; 0: off."`
	MaxLateness      time.Duration `yaml:"max_lateness" range:"0.." help:"An event that is older than the newest one of its input partition by more than this goes to the dead-letter topic; 0: no limit. In detect: only when given with --set."`
	MaxAhead         time.Duration `yaml:"max_ahead" range:"0.." help:"An event whose time is further ahead of its record's timestamp, or of the clock, than this goes to the dead-letter topic; 0: no limit. In detect: only when given with --set."`
	MaxDrift         time.Duration `yaml:"max_drift" range:"0.." help:"While input partitions have a backlog, one that is further ahead in event time than this of the slowest waits for it; 0: none waits."`
}

// Limits bound the cost of one record, alert or set.
type Limits struct {
	MaxUnpacked   Bytes `yaml:"max_unpacked" range:"1KiB.." help:"Most bytes that one record may unpack to, in all. At most 64 MiB of it are held at a time, a value or an event; where the key is not set and the process has a memory limit, that of its cgroup or GOMEMLIMIT, an eighth of that."`
	MaxAlertBytes Bytes `yaml:"max_alert_bytes" range:"64KiB..64MiB" help:"Most bytes of one alert; a larger one is written without the event, then without evidence."`
	MaxSetMembers int   `yaml:"max_set_members" range:"1..1000000" help:"Most members of one set or timeline in the state of a rule. Of more, a timeline and the addresses of a role let the oldest go, which is counted; another set refuses, and the event goes to the dead-letter topic. With window_kind sliding, at least twice the threshold."`
}

// Log is the level and the form of the log.
type Log struct {
	Level  string `yaml:"level" one:"debug info warn error" help:"Least level that is logged: debug, info, warn or error."`
	Format string `yaml:"format" one:"auto json text" help:"json, text, or auto: text on a terminal and json elsewhere."`
}

// Default returns the configuration that holds when nothing is given; InstanceID is empty in it.
func Default() Config {
	return Config{
		AppID: "trailhound",
		Kafka: Kafka{
			Brokers:            []string{"127.0.0.1:9092"},
			ClientID:           "trailhound",
			SessionTimeout:     10 * time.Second,
			TransactionTimeout: 15 * time.Second,
			RequestTimeout:     10 * time.Second,
			Compression:        "snappy",
			SASL:               SASL{Mechanism: "none", OAuth: OAuth{Scopes: []string{}, Extensions: []string{}}},
		},
		Topics: Topics{
			Input:                []string{"cloudtrail"},
			Alerts:               "alerts",
			DeadLetter:           "cloudtrail-dead-letter",
			Create:               true,
			Replication:          -1,
			AlertPartitions:      4,
			DeadLetterPartitions: 1,
		},
		Start:    "earliest",
		Shards:   8,
		StateDir: "./data",
		State:    State{Cache: 4 << 20, Lifetime: 90 * 24 * time.Hour},
		HTTP:     HTTP{Listen: "127.0.0.1:9464"},
		Events: Events{
			DuplicatesWithin: 24 * time.Hour,
			MaxLateness:      7 * 24 * time.Hour,
			MaxAhead:         time.Hour,
			MaxDrift:         time.Hour,
		},
		Limits: Limits{MaxUnpacked: 256 << 20, MaxAlertBytes: 1 << 20, MaxSetMembers: 10_000},
		Log:    Log{Level: "info", Format: "auto"},
	}
}

// Origin returns where the effective value of the key at path ("kafka.brokers",
// "rules.access_denied.threshold", or "rules.access_denied" for the rule's switch) came
// from; of a section, and of a rule without a given switch, where its keys stand.
func (c *Config) Origin(path string) Origin {
	if at, ok := c.origins[path]; ok {
		return at
	}
	return c.sections[path]
}

// Given returns how many values are in effect that came from the source.
func (c *Config) Given(from Source) int {
	n := 0
	for _, f := range c.fields.list {
		if c.origins[f.path].Source == from {
			n++
		}
	}
	return n
}

// Path is a key that has the path of a file or directory as its value.
type Path struct {
	Key, Path string
	Directory bool // it is written to; a file is read
}

// Paths returns all keys that name a file or directory, in the order of the reference, without those that are empty.
func (c *Config) Paths() []Path {
	var list []Path
	for _, f := range c.fields.list {
		if f.opens != "" && f.value.String() != "" {
			list = append(list, Path{Key: f.path, Path: f.value.String(), Directory: f.opens == "write"})
		}
	}
	return list
}

// Origin is where a value came from. The zero value is the default.
type Origin struct {
	Source       Source
	Name         string // path of the file, name of the variable, or the key given to --set
	Line, Column int    // in the file, from 1
}

// Source is a kind of origin, in rising order of precedence.
type Source int

// The sources of a value.
const (
	FromDefault Source = iota
	FromFile
	FromEnvironment
	FromFlag
)

// String returns the origin as it stands before an error's sentence: "trailhound.yaml:3:8", "TRAILHOUND_SHARDS",
// "--set shards", "default".
func (o Origin) String() string {
	switch {
	case o.Source == FromDefault:
		return "default"
	case o.Source == FromFlag:
		return "--set " + clip(o.Name)
	case o.Source == FromEnvironment:
		return clip(o.Name)
	case o.Line > 0:
		return fmt.Sprintf("%s:%d:%d", o.Name, o.Line, o.Column)
	}
	return o.Name
}
