// SPDX-License-Identifier: Apache-2.0

package evloop

import "bytes"

// Output can be looked at as it is written. The look is behind a flag of the connection,
// in the word of flags that each write reads anyway. A function for each connection would
// cost every one of them a word.

// SetTap sets the function that is told the output of connections for which Conn.Tap was
// called. It must not write to connections or end them, and may keep p, which must not be
// changed.
func (l *Loop) SetTap(f func(c *Conn, p []byte)) {
	l.checkCaller()
	l.tap = f
}

// Tap begins or ends to tell each message that Write, WriteStatic or Send takes for c to
// the function of SetTap, in order, at the time of the call. One that the overflow policy
// drops later was told. It is not carried over a restart.
func (c *Conn) Tap(on bool) {
	c.loop.checkCaller()
	if c.flags &^= flagTapped; on {
		c.flags |= flagTapped
	}
}

// tell is apart, so that the writes stay small.
func (c *Conn) tell(p []byte) {
	if f := c.loop.tap; f != nil {
		f(c, p)
	}
}

// tellCopy is for bytes that are the caller's, and that must not escape.
func (c *Conn) tellCopy(p []byte) { c.tell(bytes.Clone(p)) }
