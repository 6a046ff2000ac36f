package main

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// thing is a JSON object of the input: an event, or an envelope of events.
type thing struct {
	ID        string `json:"eventID"`
	Time      string `json:"eventTime"`
	Stamp     string `json:"@timestamp"`
	Name      string `json:"eventName"`
	Source    string `json:"eventSource"`
	Agent     string `json:"userAgent"`
	Version   string `json:"eventVersion"`
	IP        string `json:"sourceIPAddress"`
	ErrorCode string `json:"errorCode"`
	Account   string `json:"recipientAccountId"`
	Region    string `json:"awsRegion"`
	ErrorText string `json:"errorMessage"`
	Endpoint  string `json:"vpcEndpointId"`
	Shared    string `json:"sharedEventID"`
	Addendum  struct {
		Reason   string `json:"reason"`
		Original string `json:"originalEventID"`
	} `json:"addendum"`
	Identity struct {
		Type       string `json:"type"`
		ARN        string `json:"arn"`
		Principal  string `json:"principalId"`
		InvokedBy  string `json:"invokedBy"`
		AccessKey  string `json:"accessKeyId"`
		Account    string `json:"accountId"`
		OnBehalfOf struct {
			User  string `json:"userId"`
			Store string `json:"identityStoreArn"`
		} `json:"onBehalfOf"`
		Session struct {
			Source string `json:"sourceIdentity"`
			Issuer struct {
				ARN string `json:"arn"`
			} `json:"sessionIssuer"`
		} `json:"sessionContext"`
	} `json:"userIdentity"`
	Request  request `json:"requestParameters"`
	Response struct {
		User struct {
			ARN string `json:"arn"`
		} `json:"assumedRoleUser"`
	} `json:"responseElements"`

	Records     []json.RawMessage
	Detail      json.RawMessage `json:"detail"`
	Message     json.RawMessage
	MessageType string `json:"messageType"`
	LogEvents   []struct {
		Message json.RawMessage `json:"message"`
	} `json:"logEvents"`
	Digest string `json:"digestStartTime"`
}

// request is the parameters of a call.
type request struct {
	Role   string `json:"roleArn"`
	Target string `json:"targetPrincipal"`
}

// UnmarshalJSON reads an object, or a string that holds one, as Athena writes it. Anything else has no parameters.
func (r *request) UnmarshalJSON(text []byte) error {
	type plain request
	var inner string
	if len(text) > 0 && text[0] == '"' && json.Unmarshal(text, &inner) == nil {
		text = []byte(inner)
	}
	_ = json.Unmarshal(text, (*plain)(r)) // a member of another type is left out
	return nil
}

// part is one of the things in a record.
type part struct {
	raw   json.RawMessage
	event *thing // nil: it is none
	bad   string // reason; an event without one is good
}

// unwrap returns the parts of a record value, inside any envelopes. A value that by design
// holds no event has no parts.
func unwrap(value []byte) (parts []part) {
	switch {
	case bytes.HasPrefix(value, []byte{0x1f, 0x8b}):
		r, err := gzip.NewReader(bytes.NewReader(value))
		if err != nil {
			return []part{{bad: "bad_gzip"}}
		}
		text, err := io.ReadAll(r)
		if err != nil {
			return []part{{bad: "bad_gzip"}}
		}
		return unwrap(text)
	case bytes.HasPrefix(value, []byte("H4sI")):
		packed, err := base64.StdEncoding.DecodeString(string(value))
		if err != nil {
			return []part{{bad: "bad_gzip"}}
		}
		return unwrap(packed)
	}
	for d := json.NewDecoder(bytes.NewReader(value)); ; {
		var one json.RawMessage
		switch err := d.Decode(&one); {
		case errors.Is(err, io.EOF):
			return parts
		case errors.Is(err, io.ErrUnexpectedEOF):
			return append(parts, part{bad: "cut_off"})
		case err != nil:
			return append(parts, part{bad: "not_json"})
		}
		parts = append(parts, unwrapValue(one)...)
	}
}

// unwrapValue returns the parts of one JSON value.
func unwrapValue(value json.RawMessage) (parts []part) {
	var list []json.RawMessage
	switch value[0] {
	case '"':
		var text string
		mustParse(value, &text)
		return unwrap([]byte(text))
	case '[':
		mustParse(value, &list)
	case '{':
		one := new(thing)
		mustParse(value, one)
		switch {
		case one.Version != "":
			return []part{{raw: value, event: one}}
		case one.Records != nil:
			list = one.Records
		case one.Detail != nil:
			list = append(list, one.Detail)
		case one.Message != nil:
			list = append(list, one.Message)
		case one.MessageType == "DATA_MESSAGE":
			for _, m := range one.LogEvents {
				list = append(list, m.Message)
			}
		case one.MessageType != "", one.Digest != "": // no events by design
		default:
			return []part{{bad: "unknown_shape"}}
		}
	default:
		return []part{{bad: "unknown_shape"}}
	}
	for _, inner := range list {
		parts = append(parts, unwrapValue(inner)...)
	}
	return parts
}

// mustParse is for JSON that has passed a JSON decoder. A member of another type than the one wanted is left out, as in
// events of real trails.
func mustParse(text json.RawMessage, into any) {
	var mistyped *json.UnmarshalTypeError
	if err := json.Unmarshal(text, into); err != nil && !errors.As(err, &mistyped) {
		panic(fmt.Sprintf("oracle: a record that the workload does not make (%v): %.200s", err, text))
	}
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("oracle: " + err.Error())
	}
	return b
}
