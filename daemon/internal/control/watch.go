// SPDX-License-Identifier: Apache-2.0

package control

import (
	"time"

	"penstock/daemon/internal/view"
)

// The types of Watch and Tap, in the order of the description.

// An Event is a record of the log.
type Event struct {
	Time    time.Time         `json:"time"`
	Level   string            `json:"level"`
	Message string            `json:"message"`
	Fields  map[string]string `json:"fields"`
}

// Watching is the parameter of Watch.
type Watching struct {
	Level   string `json:"level,omitempty"`
	Service string `json:"service,omitempty"`
	Past    bool   `json:"past,omitempty"`
}

// Events is a reply of Watch.
type Events struct {
	Missed uint64  `json:"missed"`
	Events []Event `json:"events"`
}

// The directions of a Piece.
const (
	DirectionIn  = "in"
	DirectionOut = "out"
)

// A Piece is what has gone over a connection at once.
type Piece struct {
	Time      time.Time  `json:"time"`
	ID        uint64     `json:"id"`
	Peer      *view.Peer `json:"peer,omitempty"`
	Direction string     `json:"direction"`
	Data      *string    `json:"data,omitempty"`
	Base64    []byte     `json:"base64,omitempty"`
}

// Bytes returns the bytes of a piece.
func (p *Piece) Bytes() []byte {
	if p.Data != nil {
		return []byte(*p.Data)
	}
	return p.Base64
}

// Tapping is the parameter of Tap: a service or a connection.
type Tapping struct {
	Service string `json:"service,omitempty"`
	ID      uint64 `json:"id,omitempty"`
}

// Pieces is a reply of Tap.
type Pieces struct {
	Missed uint64  `json:"missed"`
	Pieces []Piece `json:"pieces"`
}
