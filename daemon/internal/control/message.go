// SPDX-License-Identifier: Apache-2.0

package control

import (
	"strconv"
	"unicode/utf8"

	"penstock/daemon/internal/view"
)

// The types of Join and Publish, in the order of the description.

// A Message is one that a service has passed to all its clients, or a coming, going or
// another name.
type Message struct {
	Number uint64     `json:"number"`
	Origin string     `json:"origin"`
	Peer   *view.Peer `json:"peer,omitempty"`
	Name   string     `json:"name,omitempty"`
	Tag    string     `json:"tag,omitempty"`
	Data   *string    `json:"data,omitempty"`
	Base64 []byte     `json:"base64,omitempty"`
}

// Text returns the bytes of a text as the fields data and base64 hold them: JSON has no
// strings but of Unicode.
func Text(p []byte) (data *string, base64 []byte) {
	if utf8.Valid(p) {
		s := string(p)
		return &s, nil
	}
	return nil, p
}

// Bytes returns the text of a message.
func (m *Message) Bytes() []byte {
	if m.Data != nil {
		return []byte(*m.Data)
	}
	return m.Base64
}

// Joining is the parameter of Join.
type Joining struct {
	Service string  `json:"service"`
	After   *uint64 `json:"after,omitempty"`
	Series  string  `json:"series,omitempty"`
}

// Joined is a reply of Join.
type Joined struct {
	Series   string    `json:"series"`
	Last     uint64    `json:"last"`
	Missed   uint64    `json:"missed"`
	Messages []Message `json:"messages"`
	Names    []string  `json:"names,omitempty"` // in the first reply of a room
}

// Series returns the name of a numbering.
func Series(n uint64) string { return strconv.FormatUint(n, 16) }

// A Publication is the parameter of Publish.
type Publication struct {
	Service string  `json:"service"`
	Data    *string `json:"data,omitempty"`
	Base64  []byte  `json:"base64,omitempty"`
	Name    string  `json:"name,omitempty"`
	Tag     string  `json:"tag,omitempty"`
	Board   string  `json:"board,omitempty"`
}

// Published is the reply of Publish.
type Published struct {
	Number uint64 `json:"number"`
}

// A Presence is the parameters of Present.
type Presence struct {
	Service string   `json:"service"`
	Board   string   `json:"board"`
	Names   []string `json:"names"`
}
