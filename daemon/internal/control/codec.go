// SPDX-License-Identifier: Apache-2.0

package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// A message is one JSON object, and a NUL byte behind it. The names of its members are
// taken as they are written: encoding/json alone would also take "Method" for "method",
// and the last of two members of one name.

// LongestCall is the most bytes of a call, NUL included. The event loop keeps as much of
// what a client has sent.
const LongestCall = 60 << 10

// LongestReply is the most bytes of a reply that a Client takes, NUL included. What may
// be longer comes in several replies.
const LongestReply = 4 << 20

// A Call is what a client sends.
type Call struct {
	Method     string          // penstock.Control.Status
	Parameters json.RawMessage // an object; nil: none
	More       bool            // several replies are wanted
	OneWay     bool            // none is
	Upgrade    bool            // the connection is to become another one
}

// A Reply is what a server sends. With an Error, Parameters describe it.
type Reply struct {
	Parameters json.RawMessage `json:"parameters,omitempty"`
	Continues  bool            `json:"continues,omitempty"`
	Error      string          `json:"error,omitempty"`
}

// ParseCall reads a call without its NUL. Parameters share memory with nothing.
func ParseCall(message []byte) (c Call, err error) {
	_, err = object(message, func(name string) any {
		switch name {
		case "method":
			return &c.Method
		case "parameters":
			return &c.Parameters
		case "more":
			return &c.More
		case "oneway":
			return &c.OneWay
		case "upgrade":
			return &c.Upgrade
		}
		return nil
	})
	if err == nil && !isMethod(c.Method) {
		err = fmt.Errorf("%.64q is no method", c.Method)
	}
	if bytes.Equal(c.Parameters, null) {
		c.Parameters = nil
	}
	if err == nil && c.Parameters != nil && c.Parameters[0] != '{' {
		err = errors.New("parameters are no object")
	}
	if err != nil {
		return Call{}, fmt.Errorf("call: %w", err)
	}
	return c, nil
}

var null = []byte("null")

// isMethod reports whether s is an interface, which has a dot, a dot and a name.
func isMethod(s string) bool {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") != "" {
		return false
	}
	parts := strings.Split(s, ".")
	return len(parts) >= 3 && !strings.Contains("."+s+".", "..")
}

// Encode returns the call as it is sent.
func (c Call) Encode() ([]byte, error) {
	return encode(struct {
		Method     string          `json:"method"`
		Parameters json.RawMessage `json:"parameters,omitempty"`
		More       bool            `json:"more,omitempty"`
		OneWay     bool            `json:"oneway,omitempty"`
		Upgrade    bool            `json:"upgrade,omitempty"`
	}(c))
}

// Encode returns the reply as it is sent.
func (r Reply) Encode() ([]byte, error) { return encode(r) }

func encode(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	return append(b, 0), err
}

// ParseReply reads a reply without its NUL.
func ParseReply(message []byte) (r Reply, err error) {
	_, err = object(message, func(name string) any {
		switch name {
		case "parameters":
			return &r.Parameters
		case "continues":
			return &r.Continues
		case "error":
			return &r.Error
		}
		return nil
	})
	if err != nil {
		return Reply{}, fmt.Errorf("reply: %w", err)
	}
	return r, nil
}

// Decode reads parameters. fields holds, for each name that is known, where its value
// goes. What is missing or null is left as it is, and is wrong if it is required. The error
// is a reply for the caller.
func Decode(parameters json.RawMessage, fields map[string]any, required ...string) *Error {
	if parameters == nil {
		parameters = json.RawMessage("{}")
	}
	last := ""
	given, err := object(parameters, func(name string) any {
		last = name
		return fields[name]
	})
	if err != nil {
		return InvalidParameter(last)
	}
	for _, name := range required {
		if !given[name] {
			return InvalidParameter(name)
		}
	}
	return nil
}

// object reads a JSON object. into returns where the value of a member goes, or nil for
// a member that is not known, which is an error. given has each member that is there, false
// for null.
func object(text []byte, into func(name string) any) (given map[string]bool, err error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("is no JSON object")
	}
	given = make(map[string]bool)
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name, ok := t.(string)
		if !ok {
			return nil, errors.New("has a member without a name")
		}
		to := into(name)
		if to == nil {
			return nil, fmt.Errorf("has a member %.64q that is not known", name)
		}
		if _, twice := given[name]; twice {
			return nil, fmt.Errorf("has the member %q twice", name)
		}
		var value json.RawMessage
		err = dec.Decode(&value)
		if err == nil {
			err = json.Unmarshal(value, to)
		}
		if err != nil {
			return nil, fmt.Errorf("member %q: %w", name, err)
		}
		given[name] = !bytes.Equal(value, null)
	}
	if _, err := dec.Token(); err != nil { // the closing brace
		return nil, err
	}
	if len(bytes.TrimSpace(text[dec.InputOffset():])) > 0 {
		return nil, errors.New("has something behind it")
	}
	return given, nil
}

// NewReply makes a reply of parameters. continues says that there will be another one.
func NewReply(parameters any, continues bool) (Reply, error) {
	b, err := json.Marshal(parameters)
	return Reply{Parameters: b, Continues: continues}, err
}

// InterfaceOf returns the interface of a method.
func InterfaceOf(method string) string { return method[:strings.LastIndexByte(method, '.')] }
