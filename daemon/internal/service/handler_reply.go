// SPDX-License-Identifier: Apache-2.0

package service

import (
	"errors"

	"penstock/daemon/internal/config"
	"penstock/evloop"
)

// This file takes what a handler's program says to the clients. Lines for all go
// through the fanout. A line for a single client goes behind the lines for all
// that the program said before.

// Dropped is told that overflow took messages from c's queue. Broadcasts may
// be lost; a client that would miss a reply is disconnected instead.
//
//	drop-newest takes the end of the queue, so a reply is gone if the output
//	            now ends before it
//	drop-oldest takes the front, so it may be gone unless it was sent before
func (h *handler) Dropped(c *evloop.Conn, _, _ int) {
	cl, end := clientOf(c), c.BytesOut()+uint64(c.Queued())
	lost := end < cl.replyEnd
	if h.conf.Overflow == config.DropOldest {
		lost = cl.replyEnd > c.BytesOut()
	}
	if lost && !c.Closing() {
		c.Abort(ErrReplyLost)
	}
}

// Deliver passes on a line of the program.
func (h *handler) Deliver(line []byte) {
	r, err := decodeReply(line)
	if err != nil {
		h.log.OutputDropped(line, len(line), err)
		return
	}
	if !r.addressed {
		h.fan.send(evloop.NewMessage(r.data), nil)
		if h.fan.behind() {
			h.program.PauseOutput() // a program that floods waits
		}
		return
	}
	c := h.clients[r.conn]
	if c == nil {
		h.late++ // the client did not wait, which is its right
		return
	}
	if r.data != nil {
		h.reply(c, r.data)
	}
	if r.close {
		h.fan.catchUp(c)
		finish(c)
	}
}

// reply sends the answer to the oldest message of c that has none.
func (h *handler) reply(c *evloop.Conn, data []byte) {
	cl := clientOf(c)
	h.awaits(c, max(0, cl.pending-1))
	h.sending()
	h.fan.catchUp(c) // what went to all came first
	if !c.Write(data) && !c.Closing() {
		c.Abort(ErrReplyLost)
		return
	}
	cl.replyEnd = c.BytesOut() + uint64(c.Queued())
	h.endIfServed(c)
}

var errOutputTooLong = errors.New("line too long")

// Overlong logs a line of the program that was too long and is dropped.
func (h *handler) Overlong(head []byte, n int) {
	h.log.OutputDropped(head, n, errOutputTooLong)
}
