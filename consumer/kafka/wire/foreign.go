package wire

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
)

// ForeignError says that the server at a broker's address does not speak Kafka's protocol,
// or speaks it inside of TLS only.
type ForeignError struct {
	Address string // "host:port"
	Speaks  string // the kind of server, with its article ("an HTTP server"); "": not known
	First   string // the first bytes of its answer, at most eight
}

func (e *ForeignError) Error() string {
	if e.Speaks == "" {
		return fmt.Sprintf("%s does not answer as Kafka: its answer begins with %q", e.Address, e.First)
	}
	return fmt.Sprintf("%s answers as %s, not as Kafka", e.Address, e.Speaks)
}

// TLS says whether the other side expects TLS.
func (e *ForeignError) TLS() bool { return e.Speaks == aTLSServer }

const (
	anHTTPServer = "an HTTP server"
	aTLSServer   = "a TLS server"
)

// greetings are the first bytes that other servers send, in answer to anything or of their
// own accord.
var greetings = []struct{ first, speaks string }{
	{"HTTP", anHTTPServer},
	{"<", anHTTPServer}, // an answer without a head: HTTP/0.9
	{"\x15\x03", aTLSServer},
	{"SSH-", "an SSH server"},
	{"AMQP", "an AMQP server"},
	{"220 ", "a mail or FTP server"},
	{"220-", "a mail or FTP server"},
	{"-ERR", "a Redis server"},
	{"-DEN", "a Redis server"},
	{"-NOA", "a Redis server"},
	{"RFB ", "a VNC server"},
}

// protocolOf names a server by the first four to eight bytes that it sends; "": not known.
func protocolOf(head []byte) string {
	for _, g := range greetings {
		if bytes.HasPrefix(head, []byte(g.first)) {
			return g.speaks
		}
	}
	// A SETTINGS frame begins each HTTP/2 connection (RFC 9113, 3.4): length, type 4,
	// flags, stream 0.
	if len(head) == answerHead && head[0] == 0 && head[3] == 4 && bytes.Equal(head[4:], []byte{0, 0, 0, 0}) {
		return "an HTTP/2 server"
	}
	// MySQL's packets have three bytes of length, the lowest first, and a sequence number.
	if head[1] == 0 && head[2] == 0 && head[3] == 0 {
		return "a MySQL server"
	}
	return ""
}

// foreignTLS returns a *ForeignError if the other side answers a TLS handshake by another
// protocol; else err.
func foreignTLS(address string, err error) error {
	if other, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		head := other.RecordHeader[:]
		if speaks := protocolOf(head); speaks != "" && speaks != aTLSServer {
			return &ForeignError{Address: address, Speaks: speaks, First: string(head)}
		}
	}
	return err
}

// AdvertisedError says that a broker cannot be reached from here at the address that it
// advertises to clients.
type AdvertisedError struct {
	Broker  int32  // id; -1: not known
	Address string // "host:port"
	Err     error
}

func (e *AdvertisedError) Error() string {
	who, why := "a broker", "cannot be reached from here"
	if e.Broker >= 0 {
		who = fmt.Sprintf("broker %d", e.Broker)
	}
	if unknown, ok := errors.AsType[*net.DNSError](e.Err); ok && unknown.IsNotFound {
		why = "does not resolve here"
	}
	return fmt.Sprintf("%s says that it is at %s (advertised.listeners), which %s: %v; let it advertise an address that this host can reach, or name a listener in kafka.brokers that does", who, e.Address, why, e.Err)
}

// Unwrap returns the error of the dial.
func (e *AdvertisedError) Unwrap() error { return e.Err }

// addresses holds the brokers' addresses, to tell a wrong one from a broker that is down.
type addresses struct {
	configured []string
	brokers    map[string]int32 // ids by "host:port", as the brokers say
	reached    map[string]bool  // addresses that were right once: a later failure does not make them wrong
}

// unreached returns the error of a failed dial: an *AdvertisedError, unless the address is
// configured or was right once.
func (c *Client) unreached(address string, err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.Contains(c.addresses.configured, address) || c.addresses.reached[address] {
		return err
	}
	id, ok := c.addresses.brokers[address]
	if !ok {
		id = -1
	}
	return &AdvertisedError{Broker: id, Address: address, Err: err}
}

func (c *Client) noteReached(address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.addresses.reached == nil {
		c.addresses.reached = make(map[string]bool)
	}
	c.addresses.reached[address] = true
}

func (c *Client) noteBrokers(brokers map[string]int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(brokers) > 0 { // else the answer is that of a broker that throttles this client
		c.addresses.brokers = brokers
	}
}
