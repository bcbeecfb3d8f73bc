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
//	tail           refused   default      allowed      allowed
//	room           refused   allowed      allowed      default
//	handler        refused   broadcasts   broadcasts   default
//	bridge         refused   default      allowed      allowed
//	proxy, exec    default   refused      refused      allowed
//
// "broadcasts" is allowed here, and the service sees to it that only lines to all are
// dropped, never a reply to a client.
type policies struct {
	preset  Overflow
	refused map[Overflow]string // and why
}

// answering is for every kind that sends only answers to the same client, or output
// that is made when the client reads.
var answering = policies{Pause, map[Overflow]string{
	DropOldest: "a reply is never dropped",
	DropNewest: "a reply is never dropped",
}}

// checkOverflow says why kind does not take o, and what it takes.
func checkOverflow(kind Kind, o Overflow) error {
	why, refused := kind.row().overflow.refused[o]
	if !refused {
		return nil
	}
	left := []Overflow{Pause, DropOldest, DropNewest, Disconnect}
	left = slices.DeleteFunc(left, func(p Overflow) bool {
		return slices.Contains(slices.Collect(maps.Keys(kind.row().overflow.refused)), p)
	})
	return fmt.Errorf("%q is not for kind %q: %s; want %s", o, kind, why, quoted(left))
}
