package config

import (
	"net"
	"net/url"
	"strings"
)

// hasPassword tells the mechanisms with a user name and a password from the others.
func (s *SASL) hasPassword() bool {
	return s.Mechanism == "plain" || strings.HasPrefix(s.Mechanism, "scram-")
}

func checkMechanism(c *Config) string {
	if c.Kafka.SASL.Mechanism == "aws-msk-iam" && !c.Kafka.TLS.Enabled {
		return "aws-msk-iam takes kafka.tls.enabled: true, since MSK offers it with TLS only"
	}
	return ""
}

func checkUser(c *Config) string {
	switch s := c.Kafka.SASL; {
	case !s.hasPassword() && s.Username != "":
		return "has no effect without kafka.sasl.mechanism plain or scram-sha-…"
	case s.hasPassword() && s.Username == "":
		return "a user name is missing for kafka.sasl.mechanism " + s.Mechanism
	}
	return ""
}

func checkPassword(c *Config) string {
	switch s := c.Kafka.SASL; {
	case s.Password != "" && s.PasswordFile != "":
		return "kafka.sasl.password and kafka.sasl.password_file are both given; give one"
	case !s.hasPassword() && s.Password+s.PasswordFile != "":
		return "has no effect without kafka.sasl.mechanism plain or scram-sha-…"
	case s.hasPassword() && s.Password+s.PasswordFile == "":
		return "a password is missing; give kafka.sasl.password_file, or " + variable("kafka.sasl.password")
	}
	return ""
}

func checkToken(c *Config) string {
	s := c.Kafka.SASL
	given := 0
	for _, way := range []string{s.Token, s.TokenFile, s.OAuth.TokenURL} {
		if way != "" {
			given++
		}
	}
	switch {
	case s.Mechanism != "oauthbearer" && given > 0:
		return "kafka.sasl.token, token_file and oauth.token_url have no effect without kafka.sasl.mechanism oauthbearer"
	case given > 1:
		return "of kafka.sasl.token, token_file and oauth.token_url more than one is given; give one"
	case s.Mechanism == "oauthbearer" && given == 0:
		return "a token is missing; give kafka.sasl.token_file, kafka.sasl.oauth.token_url, or " + variable("kafka.sasl.token")
	}
	return ""
}

// checkTokenURL refuses to send a secret in plain text to another machine.
func checkTokenURL(c *Config) string {
	text := c.Kafka.SASL.OAuth.TokenURL
	if text == "" {
		return ""
	}
	u, err := url.Parse(text)
	switch {
	case err != nil, u.Host == "", u.Scheme != "https" && u.Scheme != "http":
		return "it is not the URL of a token endpoint; write one such as https://login.example.com/oauth2/token"
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return "the client secret would go over the network in plain text; write https://"
	}
	return ""
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func needsTokenURL(c *Config, value string) string {
	if value != "" && c.Kafka.SASL.OAuth.TokenURL == "" {
		return "has no effect without kafka.sasl.oauth.token_url"
	}
	return ""
}

func checkClientID(c *Config) string {
	o := c.Kafka.SASL.OAuth
	if o.TokenURL != "" && o.ClientID == "" {
		return "a client id is missing for kafka.sasl.oauth.token_url"
	}
	return needsTokenURL(c, o.ClientID)
}

func checkClientSecret(c *Config) string {
	switch o := c.Kafka.SASL.OAuth; {
	case o.ClientSecret != "" && o.ClientSecretFile != "":
		return "kafka.sasl.oauth.client_secret and kafka.sasl.oauth.client_secret_file are both given; give one"
	case o.TokenURL != "" && o.ClientSecret+o.ClientSecretFile == "":
		return "a client secret is missing; give kafka.sasl.oauth.client_secret_file, or " + variable("kafka.sasl.oauth.client_secret")
	default:
		return needsTokenURL(c, o.ClientSecret+o.ClientSecretFile)
	}
}

// checkExtensions refuses names and values that RFC 7628 has no place for, and the name
// that it keeps for the token.
func checkExtensions(c *Config) string {
	s := c.Kafka.SASL
	if len(s.OAuth.Extensions) > 0 && s.Mechanism != "oauthbearer" {
		return "has no effect without kafka.sasl.mechanism oauthbearer"
	}
	for _, pair := range s.OAuth.Extensions {
		name, value, ok := strings.Cut(pair, "=")
		letters := strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz") == ""
		if !ok || name == "" || !letters || name == "auth" || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
			return "an extension is name=value, its name of letters and not auth"
		}
	}
	return ""
}

func checkRegion(c *Config) string {
	switch s := c.Kafka.SASL; {
	case s.Mechanism == "aws-msk-iam" && s.AWSRegion == "":
		return "the region of the MSK cluster is missing, such as eu-west-1"
	case s.Mechanism != "aws-msk-iam" && s.AWSRegion != "":
		return "has no effect without kafka.sasl.mechanism aws-msk-iam"
	}
	return ""
}
