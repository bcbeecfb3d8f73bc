// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"penstock/evloop/internal/uring"
)

// ring is the io_uring back end. It serves stream sockets; every other
// descriptor is left to epoll, whose own descriptor the ring polls.
//
// Input comes by one multishot receive for each connection, into buffers that
// all share. Output is collected during a turn and offered to the kernel by
// one io_uring_enter together with everything else that is to be asked:
//
//	turn ─► stage receives, polls, sends ─► io_uring_enter ─► results of the sends
//	  ▲                                                          │
//	  └── callbacks ◄── received bytes, polls ◄── sleep, if there is nothing
//
// A send carries MSG_DONTWAIT, so its result is there when the call returns:
// between two calls the kernel holds no address of ours but the buffers, which
// are not on the Go heap. The alternative, a send that waits in the kernel for
// room, would have to keep a message whole and in place for as long as the peer
// likes, while overflow, closing and handing over want it back; and two of them
// for one connection could overtake each other. Room is awaited by epoll: a
// poll of the ring reports the peer's FIN unasked (IO_POLL_UNMASK in
// io_uring/poll.c), so after a FIN one for room would return at once, again and
// again.
//
// Requests are named by a tag of operation, slot and generation, so that a late
// result is not taken for one of the next connection.
type ring struct {
	l       *Loop
	ep      *epoll // for all that the ring does not serve
	r       *uring.Ring
	intakes []intake    // by slot
	todo    []tag       // requests to stage
	out     []*Conn     // with output to offer; edgeOffered
	events  []uring.CQE // taken from the queue, from at on not yet served
	at      int
	batch   batch
	turn    uint64
	asking  bool // epoll has something, and may not say so again
	tid     int  // of the thread that may use the ring; 0: it is not enabled
	failed  error
}

// A tag is what a completion carries back:
//
//	 63  61 60                    32 31                     0
//	┌──────┬───────────────────────┬────────────────────────┐
//	│  op  │   slot, send number   │       generation       │
//	└──────┴───────────────────────┴────────────────────────┘
type tag uint64

const (
	opRecv   = iota // multishot receive
	opCancel        // cancel of the receive; its own result is of no interest
	opSend
	opEpoll // poll of the epoll descriptor
)

func newTag(op, slot, gen uint32) tag { return tag(op)<<61 | tag(slot)<<32 | tag(gen) }
func (t tag) op() uint32              { return uint32(t >> 61) }
func (t tag) slot() uint32            { return uint32(t>>32) & (1<<29 - 1) }
func (t tag) gen() uint32             { return uint32(t) }

const (
	ringBuffer = 2 << 10 // size of a receive buffer
	// usualRingMemory and maxRingMemory bound the receive buffers of a ring.
	usualRingMemory = 512 << 10
	maxRingMemory   = 1 << 20
)

func newRing(ep *epoll, memory int) (*ring, error) {
	l := ep.l
	if memory <= 0 {
		memory = usualRingMemory
	}
	count := 8
	for 2*count*ringBuffer <= min(memory, maxRingMemory) {
		count *= 2
	}
	r, err := l.sys.ring(count, ringBuffer)
	if err != nil {
		return nil, err
	}
	u := &ring{l: l, ep: ep, r: r, todo: []tag{newTag(opEpoll, 0, 0)}}
	if err := u.batch.open(); err != nil {
		r.Close()
		return nil, err
	}
	ep.ring = u
	return u, nil
}

// close gives everything back. If the ring has failed, receives could not be
// cancelled and may still write to the buffers.
func (u *ring) close() {
	if u.failed == nil {
		u.r.Close()
	} else {
		u.r.Abandon()
	}
	u.batch.close()
	if unix.Gettid() == u.tid {
		runtime.UnlockOSThread() // a locked thread runs no other goroutine: this is the one that enable locked
	}
	u.ep.close()
}

// serves reports whether the ring serves c, and not epoll. It serves stream
// sockets only: a packet needs a buffer of its own size, and other descriptors
// have no MSG_NOSIGNAL. Bulk input is left to epoll, whose large reads are
// cheaper.
func (u *ring) serves(c *Conn) bool {
	return c.kind.isSocket() && c.kind.isStream() && c.edge&edgeBulk == 0
}

// enable begins to use the ring. The kernel ties the ring to this thread, so
// the goroutine is locked to the thread as well.
func (u *ring) enable() error {
	runtime.LockOSThread()
	if err := u.r.Enable(); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	u.tid = unix.Gettid()
	return nil
}

// open asks for a receive, which the next io_uring_enter starts.
func (u *ring) open(c *Conn) error {
	if !u.serves(c) {
		return u.ep.open(c)
	}
	for int(c.slot) >= len(u.intakes) {
		u.intakes = append(u.intakes, intake{})
	}
	u.intakes[c.slot] = intake{}
	// A restored connection may be at the end of its input already. It may also
	// have output, which must not be sent before Restored has returned.
	what := watchNone
	if c.flags&flagEOF != 0 {
		what = watchGone
	}
	if c.out.bytes > 0 {
		c.edge |= edgeStuck
		what = watchRoom
	}
	if err := u.watch(c, &u.intakes[c.slot], what); err != nil {
		return err
	}
	if c.flags&flagEOF == 0 {
		u.stageReceive(c)
	}
	return nil
}

// end cancels what the kernel has to do for c, by descriptor and at once,
// because the number may be another's soon. A request keeps the socket open
// beyond close(2): without this the peer would see no FIN.
func (u *ring) end(c *Conn) {
	if !u.serves(c) {
		u.ep.end(c)
		return
	}
	s := &u.intakes[c.slot]
	if s.receives >= recvArmed {
		u.cancel(c)
	}
	if s.watch != watchNone {
		u.l.sys.epollDel(int(c.fd))
	}
	u.l.sys.closeFD(int(c.fd), c.flags&flagReset != 0 && c.kind&kindTCP != 0)
	u.release(c)
	*s = intake{}
}

// cancel ends every request for c's descriptor. When another thread closes the
// loop, the kernel refuses. That marks the ring as failed, and the requests end
// some time after it is closed.
func (u *ring) cancel(c *Conn) {
	e := u.next()
	if e == nil {
		return
	}
	e.Opcode, e.FD, e.OpFlags = uring.OpAsyncCancel, c.fd, uring.CancelFD|uring.CancelAll
	e.UserData = uint64(newTag(opCancel, c.slot, c.gen))
	u.submit()
}

// next returns an entry to fill in, making room for it if need be.
func (u *ring) next() *uring.SQE {
	e := u.r.Next()
	if e == nil {
		u.submit()
		e = u.r.Next()
	}
	return e
}

// submit hands over all that is staged and takes what has completed. When the
// kernel is short of something, submit asks again: a hundred times at once, then
// after 1 ms, 2 ms, … 1 s. Nothing can go on without the ring, and to give up
// would end all connections. Stop ends the attempts.
func (u *ring) submit() {
	const patient = 100
	pause := time.Duration(0)
	for tries := 0; ; tries++ {
		staged := u.r.Staged()
		errno := u.r.Submit()
		u.drain()
		switch left := u.r.Staged(); {
		case !passes(errno):
			u.fail(os.NewSyscallError("io_uring_enter", errno))
			return
		case left == 0 && !u.r.Overflowed():
			return
		case left < staged:
			tries, pause = 0, 0
		case tries < patient:
		case u.l.stopped.Load():
			u.fail(os.NewSyscallError("io_uring_enter", unix.EBUSY))
			return
		default:
			pause = min(max(2*pause, time.Millisecond), time.Second)
			u.l.sys.pause(pause)
		}
	}
}

// fail ends the use of the ring. Sends that the kernel has not taken are
// withdrawn: to close the connections takes more calls, and by then the memory of
// a send may hold what another client is to get.
func (u *ring) fail(err error) {
	u.failed = err
	u.r.Withdraw()
}

// passes reports whether a call that ended with errno is worth another: the
// kernel may run short of memory, or want its completions to be taken first.
func passes(errno unix.Errno) bool {
	switch errno {
	case 0, unix.ETIME, unix.EINTR, unix.EAGAIN, unix.EBUSY, unix.ENOMEM:
		return true
	}
	return false
}

// drain takes what has completed. Results of sends are noted at once; the rest
// waits to be served in order.
func (u *ring) drain() {
	from := len(u.events)
	u.events = u.r.Drain(u.events)
	kept := u.events[:from]
	for _, ev := range u.events[from:] {
		if t := tag(ev.UserData); t.op() == opSend {
			u.batch.done(t.slot(), ev.Res)
		} else {
			kept = append(kept, ev)
		}
	}
	u.events = kept
}

// wait makes one call of io_uring_enter, and a second one only to sleep.
func (u *ring) wait(timeout Time) error {
	if u.tid == 0 {
		if err := u.enable(); err != nil {
			return err
		}
	}
	u.turn++
	u.events, u.at = append(u.events[:0], u.events[u.at:]...), 0
	u.stage()
	if len(u.out) > 0 {
		u.offer()
	} else {
		u.submit()
	}
	l, slept := u.l, Time(0)
	if u.at == len(u.events) && timeout != 0 && !l.leftOver() && len(u.out) == 0 && !u.asking && u.failed == nil {
		slept = u.sleep()
	}
	l.awake(slept)
	u.reportAll()
	return u.failed
}

// sleep waits for a completion until the loop's next deadline, and returns how
// long it meant to wait. After an interruption, which may have been long
// (SIGSTOP), it takes what has come.
func (u *ring) sleep() Time {
	// Results of sends may have brought deadlines and new requests. If these
	// are more than the queue holds, some are submitted here and may have
	// results already.
	u.stage()
	if u.at < len(u.events) || u.failed != nil {
		return 0
	}
	d := u.l.patience()
	switch errno := u.r.Wait(d.Sub(0)); {
	case errno == unix.EINTR:
		u.submit()
	case !passes(errno):
		u.fail(os.NewSyscallError("io_uring_enter", errno))
	}
	u.drain()
	return d
}

// stage makes a request of each tag in todo.
func (u *ring) stage() {
	for _, t := range u.todo {
		u.request(t)
	}
	u.todo = u.todo[:0]
}

// conn returns the connection that t is about, or nil when it has ended.
func (u *ring) conn(t tag) *Conn {
	if c := u.l.conns.at(t.slot()); c != nil && c.gen == t.gen() {
		return c
	}
	return nil
}

func (u *ring) request(t tag) {
	fd := int32(u.l.sys.epfd)
	if t.op() != opEpoll {
		c := u.conn(t)
		if c == nil || c.state >= stateDead || t.op() == opRecv && u.intakes[t.slot()].receives != recvStaged {
			return // it has ended, or was lent
		}
		fd = c.fd
	}
	e := u.next()
	if e == nil {
		return // submit has failed, and wait returns the error
	}
	e.FD, e.UserData = fd, uint64(t)
	switch t.op() {
	case opRecv:
		s := &u.intakes[t.slot()]
		e.Opcode, e.Flags, e.BufGroup = uring.OpRecv, uring.BufferSelect, uring.Group
		if s.light {
			e.IOPrio = uring.RecvMultishot
		}
		s.receives = recvArmed
	case opEpoll:
		e.Opcode, e.Len, e.OpFlags = uring.OpPollAdd, uring.PollMulti, unix.POLLIN
	case opCancel:
		e.Opcode, e.Addr = uring.OpAsyncCancel, uint64(newTag(opRecv, t.slot(), t.gen()))
	}
}

// reportAll reports everything that had come when the turn's io_uring_enter
// returned, gives the buffers back, and asks epoll if that has something new.
// It asks once in a turn, so that no connection of epoll's gets two budgets.
func (u *ring) reportAll() {
	for n := len(u.events); u.at < n; {
		ev := u.events[u.at]
		u.at++
		t := tag(ev.UserData)
		switch t.op() {
		case opRecv:
			u.completed(t, ev, n)
		case opEpoll:
			if errno := unix.Errno(-ev.Res); ev.Res < 0 && errno != unix.EINTR && errno != unix.ECANCELED {
				u.fail(os.NewSyscallError("io_uring poll", errno)) // nobody could wake the loop
			}
			if ev.Flags&uring.FlagMore == 0 {
				u.todo = append(u.todo, t)
			}
			u.asking = true
		}
	}
	u.r.Publish()
	if u.asking {
		var err error
		if u.asking, err = u.ep.poll(); err != nil {
			u.fail(err)
		}
	}
}
