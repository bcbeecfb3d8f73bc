// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"penstock/evloop/internal/uring"
)

// Connections leave the ring together, as for a restart. A receive may take
// bytes out of the socket in any io_uring_enter until its last completion has
// come. They would be lost if nobody looked at them. So all receives are
// cancelled first. Then the kernel is entered until each has sent its last
// completion, and the bytes that come with it belong to the input. Only then the
// descriptors are somebody else's.
//
// A cancel for each connection, one after the other, was simpler. But each took
// an enter of its own, and one enter does not bring the last completion if the
// kernel has other work to do first.

// lastOnes is how long the loop waits for last completions of which none comes.
// The kernel has never needed it.
const lastOnes = 5 * time.Second

var errNotCancelled = errors.New("io_uring: a receive does not end")

// detach takes connections out of the ring, and those that epoll serves out of
// epoll.
func (u *ring) detach(conns []*Conn) error {
	if err := u.stopAll(conns); err != nil {
		return err
	}
	for _, c := range conns {
		s := &intake{watch: watchRoom} // as epoll has it
		if u.serves(c) {
			s = &u.intakes[c.slot]
			u.takeBack(c, s)
			u.release(c)
		}
		if s.watch != watchNone {
			u.l.sys.epollDel(int(c.fd))
		}
		*s = intake{}
	}
	return nil
}

// stopAll cancels the receives of all that are leaving and waits for their last
// completions. In each enter the kernel may do only a part of its work.
func (u *ring) stopAll(conns []*Conn) error {
	left := 0
	for _, c := range conns {
		if !u.serves(c) || u.intakes[c.slot].receives < recvArmed {
			continue // one that is only staged will not be made: it finds no connection
		}
		u.intakes[c.slot].receives = recvCancelled
		left++
		u.cancelReceive(c)
	}
	from, pause := u.at, time.Duration(0)
	for waited := time.Duration(0); left > 0; {
		if u.r.Staged() > 0 || u.r.Overflowed() {
			u.submit()
		} else {
			u.collect(left)
		}
		ended := 0
		ended, from = u.reap(from), len(u.events)
		left -= ended
		switch {
		case u.failed != nil:
			return u.failed
		case waited > lastOnes:
			u.fail(errNotCancelled)
		case ended > 0:
			pause = 0
		default:
			pause = min(pause+10*time.Microsecond, time.Millisecond)
			waited += pause
			u.l.sys.pause(pause)
		}
	}
	return u.failed
}

// cancelReceive stages a cancel by tag. The kernel finds that at once, and a
// descriptor only by a walk over all it has.
func (u *ring) cancelReceive(c *Conn) {
	if e := u.next(); e != nil {
		e.Opcode, e.Addr = uring.OpAsyncCancel, uint64(newTag(opRecv, c.slot, c.gen))
		e.UserData = uint64(newTag(opCancel, c.slot, c.gen))
	}
}

// collect has the kernel do what it has put off, for n completions that are due.
func (u *ring) collect(n int) {
	if errno := u.r.Reap(n); !passes(errno) {
		u.fail(os.NewSyscallError("io_uring_enter", errno))
	}
	u.drain()
}

// reap takes what connections that are leaving have received out of the events
// behind from, and returns how many receives have ended. The rest is still to be
// served, in order.
func (u *ring) reap(from int) (ended int) {
	for i := from; i < len(u.events); i++ {
		ev := u.events[i]
		t := tag(ev.UserData)
		if t.op() != opRecv {
			continue
		}
		c := u.conn(t)
		if c == nil || c.flags&flagLeaving == 0 {
			continue
		}
		s := &u.intakes[c.slot]
		if ev.Res > 0 {
			u.hold(c, s, ev)
		} else {
			u.ended(c, s, ev)
		}
		if ev.Flags&uring.FlagMore == 0 {
			s.receives = recvIdle
			ended++
		}
		u.events[i] = uring.CQE{UserData: uint64(newTag(opCancel, 0, 0))}
	}
	return ended
}

// takeBack moves what has left the kernel for c, but was not delivered, to the
// kept input, where it is carried along with the connection. So is a failure,
// which the kernel reports once: the next read would show it as a FIN. A
// connection whose end has begun wants no input any more.
func (u *ring) takeBack(c *Conn, s *intake) {
	if s.end < 0 && c.state < stateLingering {
		u.cutOff(c, os.NewSyscallError("recv", unix.Errno(-s.end)))
	}
	if s.held == nil || c.state != stateOpen {
		return
	}
	rest := s.held[s.off:]
	if len(rest) > 0 {
		c.lastIn = u.l.clock // the handler has not been shown it, but it came
	}
	c.bytesIn += uint64(len(rest))
	all := u.l.pool.message(len(c.Input()) + len(rest))
	all.buf = append(append(all.buf, c.Input()...), rest...)
	u.l.releaseInput(c)
	c.in = all
	u.l.queued += c.inputCost()
	u.l.weigh(c)
}

// cutOff notes that input has failed. What was received before comes first.
func (u *ring) cutOff(c *Conn, err error) {
	if c.reason() == nil {
		c.setReason(err)
	}
	if c.state == stateOpen {
		u.l.discard(c)
		c.flags |= flagBroken | flagCut
	}
}
