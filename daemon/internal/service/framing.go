// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"

	"penstock/daemon/internal/config"
	"penstock/evloop"
)

// A framing cuts a stream of bytes into lines. It has no state: the loop keeps
// the part of a line that has come and shows it again with the rest, so that
// the lines are the same however TCP cuts the stream. A scanner that remembers
// how far it got would save looking again at the kept part, at the price of
// state for each idle connection; that part is at most max bytes, and
// IndexByte does some ten of them in a nanosecond.
//
//	p:  What is your name? What is your quest? What is
//	    └──── line ──────┘
//	    └────── n ────────┘
type framing struct {
	delim []byte
	max   int  // bytes of a line, without what ends it
	chop  bool // a CR before the delimiter is not part of the line
}

// newFraming cuts at delim, which is not empty. Lines that end in LF may end in
// CRLF: telnet and half of the clients of the world send that.
func newFraming(delim string, maxLine int) framing {
	return framing{delim: []byte(delim), max: maxLine, chop: delim == "\n"}
}

// A line of the longest kind has to fit into what the loop keeps of a
// connection, with room for its end; this does not compile otherwise.
const _ = uint(evloop.DefaultMaxInput - maxDelimiter - config.LongestLine)

// A cut is what framing.next found.
type cut uint8

const (
	cutLine cut = iota // a whole line
	cutNone            // only the beginning of one
	cutLong            // more than max bytes without an end
)

// next returns the first line of p without what ends it, and how many bytes of
// p it took. line is part of p.
func (f *framing) next(p []byte) (line []byte, n int, c cut) {
	// A line that is not ended within window bytes is too long, even if its
	// last byte is a CR.
	window := f.max + len(f.delim)
	if f.chop {
		window++
	}
	in := p[:min(len(p), window)]
	i := -1
	if len(f.delim) == 1 {
		i = bytes.IndexByte(in, f.delim[0])
	} else {
		i = bytes.Index(in, f.delim)
	}
	if i < 0 {
		if len(p) >= window {
			return nil, 0, cutLong
		}
		return nil, 0, cutNone
	}
	line = p[:i]
	if f.chop && i > 0 && line[i-1] == '\r' {
		line = line[:i-1]
	}
	if len(line) > f.max {
		return nil, 0, cutLong
	}
	return line, i + len(f.delim), cutLine
}

// A client that pipelines may have thousands of short lines in what one read has
// brought, and sixty such clients would make one turn of the loop as long as all of
// them take. So a call of Data serves a portion, and the loop shows the rest in its
// next turn.
const (
	linesMost = 256
	linesFew  = 4 // once the work of the turn is spent
)

// another reports whether Data, which has served so many lines of c, serves one
// more in this turn. Most clients have sent only a few.
func another(c *evloop.Conn, served int) bool { return served < linesFew || anotherOfMany(c, served) }

func anotherOfMany(c *evloop.Conn, served int) bool {
	if served < linesMost && !c.Loop().Spent() {
		return true
	}
	c.Yield()
	return false
}

var lineTooLong = []byte("ERR line too long\n")

// tooLong ends the connection of a client that sends no delimiter. The input
// counts as consumed.
func tooLong(c *evloop.Conn) {
	c.WriteStatic(lineTooLong)
	c.CloseAfterFlush(goodbyeTimeout, ErrLineTooLong)
}
