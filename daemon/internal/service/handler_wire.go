// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// The protocol between penstock and a handler's program: one JSON object a
// line, in both directions, so that a program needs nothing but a loop that
// reads lines and any JSON library, or a shell and some patience.
//
//	to the program
//	  {"conn":7,"event":"open","service":"x","peer":"192.0.2.1:4000"}
//	  {"conn":7,"event":"message","service":"x","peer":"192.0.2.1:4000","data":"hello"}
//	  {"conn":7,"event":"message","service":"x","peer":"192.0.2.1:4000","base64":"/wA="}
//	  {"conn":7,"event":"close","service":"x","peer":"192.0.2.1:4000"}
//	from the program
//	  {"conn":7,"data":"hello yourself\n"}      to one client
//	  {"data":"to everybody\n"}                 to all
//	  {"conn":7,"base64":"/wA="}                bytes that are not UTF-8
//	  {"conn":7,"data":"bye\n","close":true}    and close, when that is sent
//
// "conn" is the first field and "data" the last one on the way in, which is
// what lets a shell script cut a line apart.

// The events a program is told of.
const (
	eventOpen    = "open"
	eventMessage = "message"
	eventClose   = "close"
)

// An event is a line to the program.
type event struct {
	Conn    uint64  `json:"conn"`
	Event   string  `json:"event"`
	Service string  `json:"service"`
	Peer    string  `json:"peer"`
	Data    *string `json:"data,omitempty"`
	Base64  []byte  `json:"base64,omitempty"`
}

// setData stores the bytes of a message in the field that can hold them: JSON
// strings are Unicode, and encoding/json would replace anything else.
func (e *event) setData(p []byte) {
	if !utf8.Valid(p) {
		e.Base64 = p
		return
	}
	s := string(p)
	e.Data = &s
}

// encoder writes events. It is kept for its buffer.
type encoder struct {
	buf  bytes.Buffer
	json *json.Encoder
}

func newEncoder() *encoder {
	e := new(encoder)
	e.json = json.NewEncoder(&e.buf)
	e.json.SetEscapeHTML(false) // nobody puts this into a page, and a shell would have to undo it
	return e
}

// line returns ev as a line. It is valid until the next call.
func (e *encoder) line(ev *event) []byte {
	e.buf.Reset()
	if err := e.json.Encode(ev); err != nil {
		panic(fmt.Sprintf("service: encode event: %v", err)) // strings and numbers cannot fail
	}
	return e.buf.Bytes()
}

// A reply is a line from the program.
type reply struct {
	addressed bool   // to one client; otherwise to all
	conn      uint64 // that one
	data      []byte // nil: there was none; empty: a reply without bytes
	close     bool
}

// Why a line from a program is not valid, beside what encoding/json says.
var (
	errNotUTF8   = errors.New(`not UTF-8: send "base64" instead of "data"`)
	errNothing   = errors.New(`neither "data" nor "base64" nor "close"`)
	errTwice     = errors.New(`both "data" and "base64"`)
	errCloseAll  = errors.New(`"close" without "conn"`)
	errConnNull  = errors.New(`"conn" is null`)
	errConnCase  = errors.New(`"conn" is spelled with capitals`)
	errNotObject = errors.New("not a JSON object")
)

// connNumber is a "conn" that knows whether it was there. null is refused: a
// program that has lost a number would otherwise send to everybody what was
// meant for one.
type connNumber struct {
	set bool
	id  uint64
}

func (c *connNumber) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return errConnNull
	}
	c.set = true
	return json.Unmarshal(b, &c.id)
}

// replyFields are the members of a line that mean something.
type replyFields struct {
	Conn   connNumber
	Data   *string
	Base64 *string
	Close  bool
}

// decode fills in the members by their exact names. encoding/json would take
// "Conn" and even "cloſe" for the fields of a struct, whatever their case, and
// a member that is the program's own business could close a connection.
func (f *replyFields) decode(line []byte) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(line, &members); err != nil {
		return err
	}
	for _, m := range []struct {
		name string
		to   any
	}{{"conn", &f.Conn}, {"data", &f.Data}, {"base64", &f.Base64}, {"close", &f.Close}} {
		if text, ok := members[m.name]; ok {
			if err := json.Unmarshal(text, m.to); err != nil {
				return fmt.Errorf("%q: %w", m.name, err)
			}
		}
	}
	for name := range members {
		if !f.Conn.set && strings.EqualFold(name, "conn") {
			return errConnCase // not for everybody what was meant for one
		}
	}
	return nil
}

// decodeReply parses a line of the program. Members that are not known are left
// alone, so that a program may send a message back with one changed.
func decodeReply(line []byte) (reply, error) {
	var in replyFields
	if !utf8.Valid(line) {
		return reply{}, errNotUTF8
	}
	if line = bytes.TrimSpace(line); len(line) == 0 || line[0] != '{' {
		return reply{}, errNotObject
	}
	if err := in.decode(line); err != nil {
		return reply{}, fmt.Errorf("decode: %w", err)
	}
	r := reply{addressed: in.Conn.set, conn: in.Conn.id, close: in.Close}
	switch {
	case in.Data != nil && in.Base64 != nil:
		return reply{}, errTwice
	case in.Data != nil:
		r.data = []byte(*in.Data)
	case in.Base64 != nil:
		b, err := base64.StdEncoding.DecodeString(*in.Base64)
		if err != nil {
			return reply{}, fmt.Errorf("decode: %w", err)
		}
		r.data = b
	case !in.Close:
		return reply{}, errNothing
	}
	if in.Close && !in.Conn.set {
		return reply{}, errCloseAll
	}
	return r, nil
}
