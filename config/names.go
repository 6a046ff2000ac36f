package config

import (
	"fmt"
	"strings"
)

// legalName replaces characters that Kafka does not allow in a name by - and cuts it to max bytes.
func legalName(s string, max int) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x80 && legalByte(byte(r)) {
			return r
		}
		return '-'
	}, s)
	return s[:min(len(s), max)]
}

func legalByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-'
}

// TopicName returns the problem with a name for a topic, or "".
// https://github.com/apache/kafka/blob/4.1.0/clients/src/main/java/org/apache/kafka/common/internals/Topic.java
func TopicName(name string) string {
	if name == "" {
		return "a topic's name is missing"
	}
	if name == "." || name == ".." || len(name) > 249 || legalName(name, len(name)) != name {
		return fmt.Sprintf("%s is not a topic's name; use letters, digits, ., _ and -, at most 249", quote(name))
	}
	return ""
}
