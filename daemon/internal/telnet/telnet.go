// SPDX-License-Identifier: Apache-2.0

package telnet

import "bytes"

// Bytes of TELNET (RFC 854). All but Escape have a meaning only after it.
const (
	Escape = 255 // IAC
	Dont   = 254
	Do     = 253
	Wont   = 252
	Will   = 251
	begin  = 250 // SB: an option's parameters
	Break  = 243
	end    = 240 // SE: their end
)

// A Verb says what an item is.
type Verb uint8

// The sorts of items.
const (
	None    Verb = iota // only the beginning of one
	Data                // bytes for the line
	Agree               // Will, Wont, Do or Dont, and an option
	Params              // an option's parameters
	Command             // another command
	TooLong             // parameters without an end
)

// An Item is the first thing in a stream.
type Item struct {
	Verb   Verb
	Which  byte   // of Agree and Command: the command
	Option byte   // of Agree and Params
	Bytes  []byte // of Data, part of the stream, without room behind it; of Params without escapes
}

// longestParams bounds an option's parameters with their escapes. A client's name for
// itself is the longest that there is.
const longestParams = 512

// Next returns the first item of p, and how many bytes of p it took. What is not whole took
// none.
func Next(p []byte) (Item, int) {
	if len(p) == 0 {
		return Item{}, 0
	}
	switch i := bytes.IndexByte(p, Escape); {
	case i < 0:
		return Item{Verb: Data, Bytes: p[:len(p):len(p)]}, len(p)
	case i > 0:
		return Item{Verb: Data, Bytes: p[:i:i]}, i
	case len(p) == 1:
		return Item{}, 0
	}
	switch p[1] {
	case Escape:
		return Item{Verb: Data, Bytes: p[1:2:2]}, 2
	case Will, Wont, Do, Dont:
		if len(p) == 2 {
			return Item{}, 0
		}
		return Item{Verb: Agree, Which: p[1], Option: p[2]}, 3
	case begin:
		return params(p)
	}
	return Item{Verb: Command, Which: p[1]}, 2
}

// params reads what is between IAC SB and IAC SE. An escape that is neither SE nor doubled
// ends them as well: the sender has lost the thread, and what follows is a command.
func params(p []byte) (Item, int) {
	if len(p) == 2 {
		return Item{}, 0
	}
	var b []byte
	for i := 3; i < len(p) && i < longestParams; i++ {
		if p[i] != Escape {
			b = append(b, p[i])
			continue
		}
		if i+1 == len(p) {
			return Item{}, 0
		}
		switch p[i+1] {
		case Escape:
			b = append(b, Escape)
			i++
		case end:
			return Item{Verb: Params, Option: p[2], Bytes: b}, i + 2
		default:
			return Item{Verb: Params, Option: p[2]}, i
		}
	}
	if len(p) >= longestParams {
		return Item{Verb: TooLong}, len(p)
	}
	return Item{}, 0
}

// Escaped returns p as data of the stream: p itself, if it has nothing to escape.
func Escaped(p []byte) []byte {
	n := bytes.Count(p, []byte{Escape})
	if n == 0 {
		return p
	}
	return appendEscaped(make([]byte, 0, len(p)+n), p)
}

func appendEscaped(to, p []byte) []byte {
	for _, b := range p {
		if to = append(to, b); b == Escape {
			to = append(to, b)
		}
	}
	return to
}
