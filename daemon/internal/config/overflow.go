// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"maps"
	"slices"
)

// The overflow matrix: what may happen when a client's queue is full.
//
//	               pause     drop-oldest  drop-newest  disconnect
//	asks/answers   default   refused      refused      allowed
//	ticker         refused   default      allowed      allowed
//	room           refused   allowed      allowed      default
//	handler        refused   broadcasts   broadcasts   default
//
// "broadcasts" is allowed here and kept by the service: a reply to a handler's
// client is never dropped, only what goes to all.
type policies struct {
	preset  Overflow
	refused map[Overflow]string // and why
}

// answering is for every kind whose output answers its own client's input, or
// is made when the client takes it.
var answering = policies{Pause, map[Overflow]string{
	DropOldest: "a reply is never dropped",
	DropNewest: "a reply is never dropped",
}}

var matrix = map[Kind]policies{
	KindLookup:  answering,
	KindEcho:    answering,
	KindDiscard: answering,
	KindDaytime: answering,
	KindTime:    answering,
	KindChargen: answering,
	KindQOTD:    answering,
	KindTicker: {DropOldest, map[Overflow]string{
		Pause: "nobody may stop the source",
	}},
	KindRoom: {Disconnect, map[Overflow]string{
		Pause: "not reading from a client makes no room in its queue, for others fill it",
	}},
	KindHandler: {Disconnect, map[Overflow]string{
		Pause: "a client that does not read would stop the program for all",
	}},
}

// checkOverflow says why kind does not take o, and what it takes.
func checkOverflow(kind Kind, o Overflow) error {
	why, refused := matrix[kind].refused[o]
	if !refused {
		return nil
	}
	left := []Overflow{Pause, DropOldest, DropNewest, Disconnect}
	left = slices.DeleteFunc(left, func(p Overflow) bool {
		return slices.Contains(slices.Collect(maps.Keys(matrix[kind].refused)), p)
	})
	return fmt.Errorf("%q is not for kind %q: %s; want %s", o, kind, why, quoted(left))
}
