// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// A simKernel plays the kernel for one loop. It keeps positions instead of
// bytes (the streams are patterns, see simFill), and readiness as Linux does
// (fs/eventpoll.c):
//
//	wake(f, bits)  queues f when bits meet its mask; 0, a change of state, always does
//	ADD, MOD       queue f when something in its mask holds at that moment
//	wait           takes f off the queue and reports it if something still holds
//
// so an edge comes once, and one that the loop forgets is gone. Where Linux is
// generous the simulation is not: a send that took less than it was offered
// or a registration for room are all that asks for a later edge of it (every
// poll does in Linux), and room counts from a third of the buffer on. What it reports
// beyond that is what really happens late or twice: stale and spurious events.
//
// It has sockets of its own, and not real ones behind a layer that
// injects faults, because only this decides when a peer acts: between any two
// system calls, from a seed.
type simKernel struct {
	rng    *rand.Rand
	faults simFaults
	world  func() // what peers do between two calls
	fail   func(args ...any)
	trace  func(format string, args ...any)

	clock  Time
	files  []*simFile // by descriptor less simFirst; nil: free
	closed []*simFile // in this turn
	freed  []int
	events []*simFile // the ready list of epoll
	stale  []simStale // registrations that are over
	asleep bool       // the last wait was for ever, and nothing came
	ring   *simRing   // nil: the loop is epoll's alone
	pipe   simPipe    // of splice
	edge   bool       // something was queued since the ring was told

	staleSent uint64
	calls     int
}

// step is the beginning of a call: some peer may act before it.
func (k *simKernel) step() {
	k.calls++
	k.world()
}

const (
	simFirst  = 1 << 20  // no number that the test process really has
	simWindow = 96 << 10 // of unread input: a peer cannot send more
)

// A simFile is an open descriptor: a listener or, with sock, a connection.
type simFile struct {
	fd      int
	sock    *simSocket
	backlog []*simSocket
	closed  bool
	calls   int // to recv or accept4 in this turn
	late    int // clients of it that came when the work was spent
	packets int // that were sent in this turn

	registered, queued bool
	mask               uint32
	token              token
	told               int  // how often of room or an error that no send has used up
	sending            bool // by the ring, which has not seen the result
}

// A simStale is a registration that is over. Its late events are stale if it
// ended with the connection: the ring also ends one before.
type simStale struct {
	f *simFile
	t token
}

func (k *simKernel) simulation() *simulation {
	sim := &simulation{
		now: k.now, epollCtl: k.epollCtl, epollWait: k.epollWait,
		recv: k.recvCall, send: k.send, accept: k.accept,
		shutdown: k.shutdown, socketErr: k.socketErr, finished: k.finished, closeReset: k.close,
		poll: k.poll, unsent: k.unsent, unread: k.unread, pause: k.pause, closeFD: k.closeFD,
		fill: k.fill, pour: k.pour, readBack: k.readBack,
		classify: func(fd int) fdKind { return k.file("fstat", fd).sock.kind },
	}
	if k.ring != nil {
		sim.ring = k.ring.open
	}
	return sim
}

// now lets every look at the clock cost something, so that deadlines fall
// between any two calls.
func (k *simKernel) now() Time {
	k.clock += Time(1 + k.rng.IntN(2000))
	return k.clock
}

func (k *simKernel) pause(d time.Duration) { k.clock += Time(d) }

// open gives sock, or a new listener, the number that was freed last: as soon
// as possible after its former holder.
func (k *simKernel) open(sock *simSocket) *simFile {
	f := &simFile{sock: sock}
	if n := len(k.freed); n > 0 {
		f.fd = k.freed[n-1]
		k.freed = k.freed[:n-1]
		k.files[f.fd-simFirst] = f
	} else {
		f.fd = simFirst + len(k.files)
		k.files = append(k.files, f)
	}
	if sock != nil {
		sock.file = f
	}
	return f
}

// file looks up the argument of a call.
func (k *simKernel) file(call string, fd int) *simFile {
	if i := fd - simFirst; i >= 0 && i < len(k.files) && k.files[i] != nil {
		return k.files[i]
	}
	k.fail(call, "of descriptor", fd, "that is not open")
	return nil
}

func (k *simKernel) wake(f *simFile, bits uint32) {
	if f == nil || !f.registered || f.queued {
		return
	}
	if bits == 0 || bits&(f.mask|hangup) != 0 {
		f.queued = true
		k.edge = true
		k.events = append(k.events, f)
	}
}

func (k *simKernel) epollCtl(op, fd int, mask uint32, t token) error {
	if fd < simFirst {
		return nil // the eventfd of Post, which is real
	}
	f := k.file("epoll_ctl", fd)
	k.calls++
	if op == unix.EPOLL_CTL_DEL {
		k.unregister(f)
		return nil
	}
	if errno := k.faults.next(callCtl, k.rng); errno != 0 {
		k.trace("epoll_ctl %d: %v", fd, errno)
		if f.sock != nil {
			f.sock.broken = true // it will be given up
		}
		return errno
	}
	k.trace("epoll_ctl %d op %d mask %x", fd, op, mask)
	switch {
	case op == unix.EPOLL_CTL_ADD && f.registered, op == unix.EPOLL_CTL_MOD && !f.registered:
		k.fail("epoll_ctl op", op, "of descriptor", fd, "registered:", f.registered)
	case op == unix.EPOLL_CTL_MOD && mask == f.mask:
		k.fail("MOD of descriptor", fd, "changes nothing")
	}
	f.registered, f.mask, f.token = true, mask, t
	if bits := f.holds() & (mask | hangup); bits != 0 {
		k.wake(f, bits)
	}
	if f.sock != nil && mask&unix.EPOLLOUT != 0 && !f.sock.writable() {
		f.sock.nospace = true
	}
	return nil
}

// recvCall is recv as a system call; a receive of the ring is none.
func (k *simKernel) recvCall(fd int, p []byte) (n int, mark bool, errno unix.Errno) {
	k.calls++
	k.file("recv", fd).calls++
	return k.recv(fd, p)
}

// epollWait reports at most a few events, so that the others wait for the
// next call as behind a full array. The ring has to take them all, because
// epoll does not tell it of what is left.
func (k *simKernel) epollWait(evs []unix.EpollEvent, timeout Time) (int, unix.Errno) {
	k.step()
	k.asleep = false
	if errno := k.faults.next(callWait, k.rng); errno != 0 {
		if timeout != 0 {
			k.stop()
		}
		return -1, errno
	}
	n := 0
	put := func(t token, bits uint32) {
		evs[n] = unix.EpollEvent{Events: bits, Fd: int32(uint32(t)), Pad: int32(uint32(t >> 32))}
		n++
		k.trace("event source %d slot %d gen %d: %x", t.source(), t.slot(), t.gen(), bits)
	}
	most := 1 + k.rng.IntN(8)
	if k.ring != nil {
		most = len(evs)
	}
	for len(k.events) > 0 && n < most {
		f := k.events[0]
		k.events = k.events[1:]
		f.queued = false
		if bits := f.holds() & (f.mask | hangup); f.registered && bits != 0 {
			if bits&(unix.EPOLLOUT|hangup) != 0 {
				f.told++
			}
			put(f.token, bits)
		}
	}
	if reported := evs[:n]; n+2 <= len(evs) {
		k.strayEvents(put, func(t token) bool { // epoll never says two things of one descriptor
			return slices.ContainsFunc(reported, func(ev unix.EpollEvent) bool { return tokenOf(&ev) == t })
		})
	}
	if n == 0 && timeout != 0 {
		k.asleep = timeout < 0
		k.clock += max(0, timeout) // for ever: somebody else wakes the loop in the end
	}
	return n, 0
}

// stop is what interrupts a sleep: a signal, or at times one that stops the
// process while its peers go on.
func (k *simKernel) stop() {
	if k.rng.IntN(2) == 0 {
		return
	}
	k.trace("stopped")
	for range k.rng.IntN(20) {
		k.clock += Time(k.rng.IntN(int(time.Second)))
		k.world()
	}
}

// strayEvents reports what nobody asked for: former holders of a slot, and
// readiness that another reader has used up already.
func (k *simKernel) strayEvents(put func(token, uint32), reported func(token) bool) {
	if k.faults.rate == 0 || k.rng.IntN(8) != 0 {
		return
	}
	if len(k.stale) > 0 && k.rng.IntN(2) == 0 {
		s := k.stale[k.rng.IntN(len(k.stale))]
		bits := k.rng.Uint32() & (unix.EPOLLIN | unix.EPOLLOUT | hangup | unix.EPOLLRDHUP)
		switch {
		case s.f.closed:
			k.staleSent++
			put(s.t, bits)
		case !reported(s.t): // it was in front of the DEL
			if s.t == s.f.token {
				s.f.told++
			}
			put(s.t, s.f.holds())
		}
	}
	if f := k.files[k.rng.IntN(len(k.files))]; f != nil && f.registered && !reported(f.token) {
		f.told++
		put(f.token, []uint32{unix.EPOLLIN, unix.EPOLLIN | unix.EPOLLPRI, unix.EPOLLOUT, unix.EPOLLIN | unix.EPOLLOUT}[k.rng.IntN(4)])
	}
}

func (k *simKernel) accept(fd int) (int, netip.AddrPort, unix.Errno) {
	k.step()
	f := k.file("accept4", fd)
	f.calls++
	errno := k.faults.next(callAccept, k.rng)
	switch {
	case errno == unix.ECONNABORTED && len(f.backlog) > 0:
		f.backlog = f.backlog[1:] // that client has gone
		return -1, netip.AddrPort{}, errno
	case errno != 0 && errno != unix.ECONNABORTED:
		k.trace("accept4: %v", errno)
		return -1, netip.AddrPort{}, errno
	case len(f.backlog) == 0:
		return -1, netip.AddrPort{}, unix.EAGAIN
	}
	s := f.backlog[0]
	f.backlog = f.backlog[1:]
	nf := k.open(s)
	k.trace("accept4: %d for client %d", nf.fd, s.id)
	return nf.fd, netip.AddrPort{}, 0
}

// unregister is also what close does to the last descriptor of a socket.
func (k *simKernel) unregister(f *simFile) {
	if f.registered {
		k.stale = append(k.stale, simStale{f, f.token})
	}
	if i := slices.Index(k.events, f); i >= 0 {
		k.events = slices.Delete(k.events, i, i+1)
	}
	f.registered, f.queued, f.mask = false, false, 0
}

// closeFD is a close without a word to epoll, which must not know f: where
// another process has the socket too, epoll would go on reporting it.
func (k *simKernel) closeFD(fd int, reset bool) {
	if f := k.file("close", fd); f.registered {
		k.fail(f, "is closed and registered with epoll")
	}
	k.close(fd, reset)
}

func (k *simKernel) close(fd int, reset bool) {
	f := k.file("close", fd)
	k.calls++
	k.trace("close %d reset %v", fd, reset)
	if f.sock != nil && f.sock.conn != nil {
		f.sock.conn.closing(reset)
	}
	if k.ring != nil && k.ring.receiving(f) && !k.faults.fatal {
		k.fail(f, "is closed with a receive under way")
	}
	k.unregister(f)
	f.closed = true
	k.files[fd-simFirst] = nil
	k.closed = append(k.closed, f)
	k.freed = append(k.freed, fd)
}

func (f *simFile) String() string { return fmt.Sprintf("descriptor %d", f.fd-simFirst) }
