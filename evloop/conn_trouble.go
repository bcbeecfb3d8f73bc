// SPDX-License-Identifier: Apache-2.0

package evloop

// A trouble is what only a connection has that lost messages or ends for a reason. Most
// never have one, and ten thousand that are idle hold less without its fields. The price is
// an allocation when the first message is dropped, or with the error at the end.
type trouble struct {
	reason error // what Closed will report

	dropped         uint64 // messages
	unreportedBytes uint64 // bytes that were dropped and not yet reported
	unreported      uint32 // messages that were dropped and not yet reported
	unsent          uint32 // bytes that the end of the output threw away
}

// noTrouble is what reads find of a connection that has none. Nothing is written to it.
var noTrouble trouble

// troubles returns c's trouble to read it.
func (c *Conn) troubles() *trouble {
	if c.trouble == nil {
		return &noTrouble
	}
	return c.trouble
}

// reason returns what Closed will report, as far as it is known.
func (c *Conn) reason() error { return c.troubles().reason }

// setReason makes err what Closed will report; nil is an orderly end.
func (c *Conn) setReason(err error) {
	if err != nil || c.trouble != nil {
		c.haveTrouble().reason = err
	}
}

// setUnsent makes n what Unsent returns.
func (c *Conn) setUnsent(n uint32) {
	if n > 0 || c.trouble != nil {
		c.haveTrouble().unsent = n
	}
}

// haveTrouble returns c's trouble to change it.
func (c *Conn) haveTrouble() *trouble {
	if c.trouble == nil {
		c.trouble = new(trouble)
	}
	return c.trouble
}

// reported forgets the drops that were to be reported, and returns how much they were.
func (c *Conn) reported() (messages, bytes int) {
	t := c.trouble
	if t == nil {
		return 0, 0
	}
	messages, bytes = int(t.unreported), int(t.unreportedBytes)
	t.unreported, t.unreportedBytes = 0, 0
	return messages, bytes
}
