// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"time"

	"golang.org/x/sys/unix"

	"penstock/evloop/internal/uring"
)

// A simRing plays io_uring for the loop of a history, next to the simulated
// epoll and on the same sockets. It sees of the loop what a kernel sees: the
// calls of io_uring_enter and the memory of the queues and buffers.
//
//	staged ─Take─► issue ─┬─► fresh ─post─► queue ─► the loop
//	                      │     ▲             ▲
//	                      ▼     │ work        │ flush
//	               pending, late┘          overflow
//
// Sends are done where they are issued, because they carry MSG_DONTWAIT.
// Receives wait as pending. What a real one does in any order or at leisure is
// decided by the seed: which of them is served in which enter (Linux runs
// twenty pieces of deferred work in one, io_uring/io_uring.c), how results of
// different requests are mixed, when a cancelled request says so, and when a
// multishot receive ends although nothing is wrong.
type simRing struct {
	k    *simKernel
	l    *Loop
	q    uring.Kernel
	epfd int32
	old  bool       // before Linux 6.5: a cancelled receive reports ENOBUFS
	dead bool       // an enter has failed for good: nothing may be sent any more
	lost unix.Errno // all others fail too

	pending  []*simRequest // receives
	late     []*simRequest // cancelled ones that have not said so
	poll     *simRequest   // of epoll
	fresh    []simResult   // of this enter
	overflow []simResult   // for which the queue had no room
	unread   []simResult   // in the queue
	out      []bool        // by buffer: not the kernel's
}

// A simRequest is one that the kernel has taken.
type simRequest struct {
	uring.SQE
	f *simFile
}

// A simResult is a completion and whose it is.
type simResult struct {
	uring.CQE
	of *simRequest
}

// open makes the ring. The queues are small, so that they are full at times.
func (u *simRing) open(count, size int) *uring.Ring {
	rng := u.k.rng
	entries := []int{2, 4, 8, 32, 128}[rng.IntN(5)]
	u.q.Enter = u.enter
	u.old = rng.IntN(4) == 0
	u.out = make([]bool, count)
	return uring.Simulate(&u.q, entries, entries<<rng.IntN(3), count, size)
}

// attach makes the loop known, and leaves it little memory for output and few
// events in one call of epoll.
func (u *simRing) attach(l *Loop) {
	u.l, u.epfd = l, int32(l.sys.epfd)
	l.work.events = 2 + u.k.rng.IntN(8)
	ringOf(l).batch.most >>= u.k.rng.IntN(7) // at least what one send may take
}

// disturbed is true one time in n, in histories with faults.
func (u *simRing) disturbed(n int) bool { return u.k.faults.rate > 0 && u.k.rng.IntN(n) == 0 }

// enter is io_uring_enter(2) with IORING_ENTER_GETEVENTS. It fails, except by
// time, only when it has not taken a request, and when it has not taken all
// (for want of memory) it leaves deferred work alone, as Linux does.
func (u *simRing) enter(staged int, wait bool, timeout time.Duration) unix.Errno {
	k := u.k
	k.step()
	k.asleep = false
	u.look()
	if errno := u.refuses(); errno != 0 {
		if wait && errno == unix.EINTR {
			k.stop()
		}
		k.trace("io_uring_enter of %d: %v", staged, errno)
		return errno
	}
	if u.dead {
		return u.ends(staged)
	}
	n := staged
	if n > 0 && k.faults.short(k.rng) {
		n = k.rng.IntN(n)
	}
	k.trace("io_uring_enter of %d: %d, wait %v %v", staged, n, wait, timeout)
	u.flush()
	for range n {
		u.issue(&simRequest{SQE: u.q.Take()})
	}
	switch {
	case n == staged:
	case n == 0:
		return unix.EAGAIN
	default:
		u.post()
		return 0
	}
	u.work()
	u.post()
	if wait {
		return u.sleep(timeout, n > 0)
	}
	if len(u.overflow) > 0 && n == 0 && u.old {
		return unix.EBUSY
	}
	return 0
}

// ends takes what is staged after the ring has failed: cancels, whose results nobody
// waits for.
func (u *simRing) ends(staged int) unix.Errno {
	for range staged {
		if r := u.q.Take(); r.Opcode == uring.OpSend || r.Opcode == uring.OpSendmsg {
			u.k.fail("send to descriptor", r.FD, "after the ring has failed")
		}
	}
	return 0
}

// refuses returns the error of an enter that does nothing, or 0.
func (u *simRing) refuses() unix.Errno {
	errno := u.k.faults.next(callEnter, u.k.rng)
	if u.lost != 0 {
		return u.lost
	}
	if errno != 0 && u.k.faults.fatal {
		u.dead = true
		if u.k.rng.IntN(2) == 0 {
			u.lost = errno
		}
	}
	return errno
}

// sleep waits for a completion. Whatever is deferred is done first.
func (u *simRing) sleep(timeout time.Duration, submitted bool) unix.Errno {
	for u.q.Unread() == 0 && u.busy() {
		u.flush()
		u.work()
		u.post()
	}
	l := u.l
	switch {
	case u.q.Unread() > 0 || submitted && u.disturbed(2):
		return 0
	case timeout != 0 && (ringOf(l).asking || len(ringOf(l).events) > ringOf(l).at || len(l.ready)+len(ringOf(l).out) > 0):
		u.k.fail("the loop sleeps and has something to do")
	case timeout < 0: // somebody else wakes the loop in the end
		u.k.asleep = true
		return 0
	}
	u.k.clock += Time(timeout)
	if submitted {
		return 0
	}
	return unix.ETIME
}

// busy reports whether there is work to do.
func (u *simRing) busy() bool {
	if len(u.late)+len(u.overflow) > 0 || u.poll != nil && u.k.edge && len(u.k.events) > 0 {
		return true
	}
	for _, r := range u.pending {
		if r.f.sock.hasInput() {
			return true
		}
	}
	return false
}

// look notes what the loop has taken and given back since the last call.
func (u *simRing) look() {
	taken := len(u.unread) - u.q.Unread()
	for _, r := range u.unread[:taken] {
		if r.of.Opcode == uring.OpSend || r.of.Opcode == uring.OpSendmsg {
			r.of.f.sending = false
		}
	}
	u.unread = u.unread[taken:]
	u.q.Provided(func(id uint16, whole bool) {
		if !whole || !u.out[id] {
			u.k.fail("buffer", id, "was returned twice or is torn")
		}
		u.out[id] = false
	})
}

// issue does what a request says, or begins to.
func (u *simRing) issue(r *simRequest) {
	k := u.k
	t := tag(r.UserData)
	k.trace("request %d of %x for %d", r.Opcode, uint64(t), r.FD)
	switch r.Opcode {
	case uring.OpSend, uring.OpSendmsg:
		u.send(r)
	case uring.OpRecv:
		r.f = k.file("recv", int(r.FD))
		if r.Flags != uring.BufferSelect || r.BufGroup != uring.Group || r.IOPrio&^uring.RecvMultishot != 0 || r.Len|r.OpFlags != 0 {
			k.fail("receive of", r.f, "with other flags:", r.SQE)
		}
		if u.receiving(r.f) {
			k.fail("two receives of", r.f)
		}
		if u.receive(r) {
			u.pending = append(u.pending, r)
		}
	case uring.OpPollAdd:
		if r.FD != u.epfd || u.poll != nil || r.Len != uring.PollMulti || r.OpFlags != unix.POLLIN {
			k.fail("another poll than that of epoll:", r.SQE)
		}
		u.poll, k.edge = r, true
	case uring.OpAsyncCancel:
		u.cancel(r)
	default:
		k.fail("operation", r.Opcode)
	}
}

// send is done at once, and by the rules of the system call.
func (u *simRing) send(r *simRequest) {
	k := u.k
	r.f = k.file("send", int(r.FD))
	pieces := r.Pieces()
	switch {
	case r.f.sending:
		k.fail("two sends of", r.f, "at a time")
	case r.OpFlags != unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL || r.Flags != 0:
		k.fail("send of", r.f, "with other flags:", r.SQE)
	}
	r.f.sending = true
	n, errno := k.send(int(r.FD), pieces)
	if errno != 0 {
		n = -int(errno)
	}
	u.complete(r, n, 0)
}

// cancel ends receives: that with an address for its user data, or all of a
// descriptor. They say so behind the cancel, some time.
func (u *simRing) cancel(r *simRequest) {
	var f *simFile
	byFD := r.OpFlags == uring.CancelFD|uring.CancelAll
	switch {
	case byFD:
		f = u.k.file("cancel", int(r.FD))
	case r.OpFlags != 0:
		u.k.fail("cancel with other flags:", r.SQE)
	}
	found := 0
	rest := u.pending[:0]
	for _, p := range u.pending {
		if byFD && p.f == f || !byFD && p.UserData == r.Addr {
			u.late = append(u.late, p)
			found++
		} else {
			rest = append(rest, p)
		}
	}
	u.pending = rest
	switch {
	case byFD:
		u.complete(r, found, 0)
	case found == 0:
		u.complete(r, -int(unix.ENOENT), 0)
	default:
		u.complete(r, 0, 0)
	}
}

// receiving reports whether there is a receive for f that may take input.
func (u *simRing) receiving(f *simFile) bool {
	for _, r := range u.pending {
		if r.f == f {
			return true
		}
	}
	return false
}

// receive takes what there is, in pieces of a buffer, and reports whether the
// request goes on. A buffer comes first: without one it ends even where there
// is nothing to receive (io_buffer_select in io_uring/kbuf.c; tried on 6.18).
func (u *simRing) receive(r *simRequest) bool {
	for range 1 + u.k.rng.IntN(32) { // MULTISHOT_MAX_RETRY
		id, p, ok := u.q.Buffer()
		if !ok {
			u.complete(r, -int(unix.ENOBUFS), 0)
			return false
		}
		n, mark, errno := u.k.recv(int(r.FD), p)
		switch {
		case errno == unix.EAGAIN:
			return true
		case errno != 0 || n == 0:
			flags := uint32(0)
			if u.disturbed(4) { // it has been to a worker thread, which commits to a buffer
				flags = u.fill(id)
			}
			u.complete(r, max(n, 0)-int(errno), flags)
			return false
		}
		flags := u.fill(id)
		// A result for which the queue has no room is the last one
		// (io_req_post_cqe in io_uring/io_uring.c; tried on 6.18).
		full := len(u.overflow) > 0 || len(u.fresh) >= u.q.Room()
		if r.IOPrio != uring.RecvMultishot || full || u.disturbed(16) {
			u.complete(r, n, flags)
			return false
		}
		u.complete(r, n, flags|uring.FlagMore)
		if mark {
			break // the rest comes later
		}
	}
	return true
}

// fill takes a buffer and returns the flags that say so.
func (u *simRing) fill(id uint16) uint32 {
	u.q.Fill()
	u.out[id] = true
	return uint32(id)<<16 | uring.FlagBuffer
}

func (u *simRing) complete(r *simRequest, res int, flags uint32) {
	u.k.trace("result of %x: %d flags %x", r.UserData, res, flags)
	u.fresh = append(u.fresh, simResult{uring.CQE{UserData: r.UserData, Res: int32(res), Flags: flags}, r})
}

// work does what is deferred, or some of it.
func (u *simRing) work() {
	u.workPoll()
	late := u.late
	u.late = late[:0]
	for _, r := range late {
		switch {
		case u.disturbed(2):
			u.late = append(u.late, r)
		case u.old:
			u.complete(r, -int(unix.ENOBUFS), 0)
		default:
			u.complete(r, -int(unix.ECANCELED), 0)
		}
	}
	u.k.rng.Shuffle(len(u.pending), func(i, j int) { u.pending[i], u.pending[j] = u.pending[j], u.pending[i] })
	pending := u.pending
	u.pending = pending[:0]
	for _, r := range pending {
		if !r.f.sock.hasInput() || u.disturbed(4) || u.receive(r) {
			u.pending = append(u.pending, r)
		}
	}
}

// workPoll reports that epoll has something new, once for any number of
// events and not again for those that are left where they are (edge-triggered,
// tried on 6.18), or at times that it has nothing.
func (u *simRing) workPoll() {
	k := u.k
	if u.poll == nil || !(k.edge && len(k.events) > 0) && !u.disturbed(16) {
		return
	}
	k.edge = false
	r := u.poll
	switch {
	case !u.disturbed(8):
		u.complete(r, unix.POLLIN, uring.FlagMore)
		return
	case k.rng.IntN(2) == 0:
		u.complete(r, unix.POLLIN, 0)
	default:
		u.complete(r, -int(unix.ECANCELED), 0)
	}
	u.poll = nil
}

// post queues the results of this enter. Those of one request keep their order.
func (u *simRing) post() {
	n := len(u.fresh)
	for swaps := n - 1; swaps > 0 && u.disturbed(2); swaps-- {
		i := 1 + u.k.rng.IntN(n-1)
		if a, b := &u.fresh[i-1], &u.fresh[i]; a.of != b.of {
			*a, *b = *b, *a
		}
	}
	u.overflow = append(u.overflow, u.fresh...)
	u.fresh = u.fresh[:0]
	u.flush()
}

// flush moves to the queue what it has room for.
func (u *simRing) flush() {
	for len(u.overflow) > 0 && u.q.Room() > 0 {
		r := u.overflow[0]
		u.overflow = u.overflow[1:]
		u.q.Post(r.CQE)
		u.unread = append(u.unread, r)
	}
	u.q.Overflow(len(u.overflow) > 0)
}
