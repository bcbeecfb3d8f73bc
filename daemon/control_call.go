// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"bytes"
	"errors"

	"penstock/daemon/internal/control"
	"penstock/daemon/internal/view"
	"penstock/evloop"
)

// A call is answered in portions, one in a turn of the loop for all clients together,
// whatever they ask for and however many they are. So a thousand calls make a thousand
// short turns, and clients of services are served in between:
//
//	Data ─► begin ─► due ─► work ─┬─ not done ──────────► due, behind the others
//	                              ├─ queue is full ─────► Drained ─► due
//	                              ├─ nothing to tell yet ─► it happens ─► due
//	                              └─ done ──────────────► the next call of this client
//
// A client has one call at a time. What it sends meanwhile waits in the loop, which bounds
// it. The alternative was to answer in Data, but then the turn would be as long as the
// calls that come in it.

// An asker is a client of the control socket. It is the State of its connection.
type asker struct {
	conn   *evloop.Conn // nil: it is gone
	peer   view.Peer
	call   control.Call
	step   func() (done bool) // goes on with call; nil: there is none
	stream streaming          // what the call waits for; nil: only for its turn
	holds  held               // what it has said of itself and of others
	due    bool               // in controlSocket.due
	eof    bool               // it sends nothing any more
	parked bool               // not step, but something else goes on with call
	act    bool               // step goes on when the client is gone, so that no act is half done
}

var (
	errCallTooLong = errors.New("call too long")
	errReplyLost   = errors.New("a reply did not fit the queue")
)

// Data takes a call, if none is under way.
func (k *controlSocket) Data(c *evloop.Conn, p []byte) int {
	a := c.State.(*asker)
	if a.step != nil {
		return 0
	}
	i := bytes.IndexByte(p, 0)
	if i < 0 && len(p) < control.LongestCall {
		return 0
	}
	call, err := control.Call{}, errCallTooLong
	if i >= 0 && i < control.LongestCall {
		call, err = control.ParseCall(p[:i])
	}
	if err != nil { // what is no call has no answer
		c.CloseAfterFlush(controlGoodbye, err)
		return len(p)
	}
	k.begin(a, call)
	return i + 1
}

// begin has a call wait for its turn.
func (k *controlSocket) begin(a *asker, call control.Call) {
	a.call, a.act = call, false
	a.step = func() bool {
		step, err := k.answer(a)
		if err != nil {
			a.fail(err)
			return true
		}
		a.step = step
		return step == nil
	}
	k.wait(a)
}

// wait puts a client behind those whose calls are due.
func (k *controlSocket) wait(a *asker) {
	if a.due {
		return
	}
	a.due = true
	k.due = append(k.due, a)
	k.schedule(controlWork, 0)
}

// work goes on with the call that has waited longest.
func (k *controlSocket) work() {
	a := k.due[0]
	k.due = append(k.due[:0], k.due[1:]...)
	a.due = false
	if len(k.due) > 0 {
		k.schedule(controlWork, 0)
	}
	gone := a.conn == nil || a.conn.Closing()
	switch {
	case a.step == nil || gone && !a.act:
	case !gone && a.conn.Full(): // Drained comes
	case a.step():
		a.step = nil
		a.endStream()
		a.next()
	case a.parked:
	case a.stream == nil || a.stream.pending():
		k.wait(a)
	}
}

// next has the following call of the client come to Data, or ends the connection.
func (a *asker) next() {
	switch c := a.conn; {
	case c == nil || c.Closing():
	case bytes.IndexByte(c.Input(), 0) >= 0:
		c.Pause()
		c.Resume()
	case a.eof:
		c.CloseAfterFlush(controlGoodbye, nil)
	}
}

// EOF lets the call under way come to its end.
func (k *controlSocket) EOF(c *evloop.Conn) {
	a := c.State.(*asker)
	if a.eof = true; a.step == nil {
		c.CloseAfterFlush(controlGoodbye, nil)
	}
}

// Drained goes on with a call for whose reply there was no room.
func (k *controlSocket) Drained(c *evloop.Conn) {
	if a := c.State.(*asker); a.step != nil {
		k.wait(a)
	}
}

// Dropped ends a client that would miss a reply, which happens at limits.memory.
func (k *controlSocket) Dropped(c *evloop.Conn, _, _ int) { c.Abort(errReplyLost) }

// reply sends parameters, unless the client wants none.
func (a *asker) reply(parameters any, continues bool) {
	a.send(control.NewReply(parameters, continues))
}

// fail sends an error.
func (a *asker) fail(err *control.Error) { a.send(err.Reply(), nil) }

func (a *asker) send(r control.Reply, err error) {
	if a.conn == nil || a.call.OneWay {
		return
	}
	var b []byte
	if err == nil {
		b, err = r.Encode()
	}
	if err != nil {
		a.conn.Abort(err)
		return
	}
	a.conn.Write(b)
}
