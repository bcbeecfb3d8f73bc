// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"slices"

	"golang.org/x/sys/unix"
)

// A simSocket is a connection, from connect on and beyond its descriptor. The
// rules are those of tcp_poll, tcp_recvmsg and tcp_sendmsg (net/ipv4/tcp.c),
// and where kind says so, of af_unix.c, pipes and terminals.
type simSocket struct {
	id   uint32
	kind fdKind
	file *simFile // nil in the backlog
	conn *simConn // the model's side, once it is open

	sent, read int        // bytes of the peer, and of these what recv has returned
	packets    []int      // lengths of what is unread, where boundaries are kept
	finIn      bool       // the peer has sent FIN, behind its bytes
	finOut     bool       // the loop has called shutdown
	gone       bool       // reset, or unless TCP: closed by the peer
	peerClosed bool       // the peer is no more: TCP answers output with RST
	broken     bool       // by an injected failure: what was on its way is lost
	mute       bool       // takes no output any more, although input goes on
	err        unix.Errno // SO_ERROR

	size, unread int  // the send buffer, and what of it the peer has not read
	moved        Time // when the peer last read
	denied       Time // when poll last said that there is nothing
	taken        int  // bytes that send has taken
	nospace      bool // a send fell short: an edge of room is due
}

// holds is poll(2).
func (f *simFile) holds() (bits uint32) {
	s := f.sock
	if s == nil {
		if len(f.backlog) > 0 {
			return unix.EPOLLIN
		}
		return 0
	}
	if s.gone || (s.finIn && s.finOut) {
		bits |= unix.EPOLLHUP
	}
	if s.kind.isSocket() && (s.gone || s.finIn) {
		bits |= unix.EPOLLIN | unix.EPOLLRDHUP
	}
	if s.waits() {
		bits |= unix.EPOLLIN
	}
	if s.gone || s.finOut || s.writable() {
		bits |= unix.EPOLLOUT
	}
	if s.err != 0 {
		bits |= unix.EPOLLERR
	}
	return bits
}

func (s *simSocket) writable() bool { return 3*(s.size-s.unread) >= s.size }

// waits reports whether there is something to read.
func (s *simSocket) waits() bool { return s.sent > s.read || len(s.packets) > 0 }

// hasInput reports whether recv would return something other than EAGAIN.
func (s *simSocket) hasInput() bool { return s.waits() || s.finIn || s.gone || s.err != 0 }

// recv returns less than there is where a short read does not mean drained,
// with mark set (urgent data, passed descriptors), or because the rest comes
// right after, which is an edge.
func (k *simKernel) recv(fd int, p []byte) (n int, mark bool, errno unix.Errno) {
	k.world()
	f := k.file("recv", fd)
	s := f.sock
	defer func() { k.trace("recv %d of %d: %d %v", fd, len(p), n, errno) }()
	switch errno := k.faults.next(callRecv, k.rng); {
	case errno == unix.EAGAIN && (s.finIn || s.gone): // never behind the end
	case errno == unix.EAGAIN:
		k.wake(f, f.holds()) // it comes right after
		return -1, false, errno
	case errno != 0:
		if errno != unix.EINTR {
			k.cut(s)
		}
		return -1, false, errno
	}
	switch {
	case s.waits():
		n, mark = k.take(s, p)
		return n, mark, 0
	case s.finIn: // also after a reset, whose error only SO_ERROR has then
		return 0, false, 0
	case s.err != 0:
		errno, s.err = s.err, 0
		return -1, false, errno
	case s.gone && s.kind&kindTerminal != 0:
		return -1, false, unix.EIO
	case s.gone:
		return 0, false, 0
	}
	return -1, false, unix.EAGAIN
}

// take reads into p what is there.
func (k *simKernel) take(s *simSocket, p []byte) (n int, mark bool) {
	if !s.kind.isStream() {
		n = s.packets[0] // its true length, also where p is too short (MSG_TRUNC)
		s.packets = s.packets[1:]
		simFill(p[:min(n, len(p))], s.id, s.read)
		s.read += n
		s.broken = s.broken || n > len(p) // a bound of the loop, which ends the connection
		return n, false
	}
	n = min(len(p), s.sent-s.read)
	if n > 1 && k.faults.short(k.rng) {
		n = 1 + k.rng.IntN(n)
		if mark = k.rng.IntN(2) == 0; !mark && s.kind.shortMeansDrained() {
			k.wake(s.file, s.file.holds())
		}
	}
	simFill(p[:n], s.id, s.read)
	s.read += n
	return n, mark
}

func (k *simKernel) send(fd int, pieces [][]byte) (n int, errno unix.Errno) {
	k.step()
	f := k.file("send", fd)
	s, total := f.sock, 0
	if !s.kind.isStream() {
		f.packets++
	}
	defer func() { k.trace("send %d of %d: %d %v", fd, total, n, errno) }()
	for _, p := range pieces {
		total += len(p)
	}
	switch {
	case slices.ContainsFunc(pieces, func(p []byte) bool { return len(p) == 0 }):
		k.fail("an empty vector")
	case len(pieces) < 1 || len(pieces) > maxVectors || len(pieces) > 1 && !s.kind.isStream():
		k.fail("send of", len(pieces), "vectors")
	case f.mask&unix.EPOLLOUT != 0 && f.told == 0:
		k.fail("send to", f, "that is known to be full")
	}
	switch errno := k.faults.next(callSend, k.rng); {
	case errno == unix.EAGAIN && s.gone: // never behind the end
	case errno == unix.EAGAIN:
		f.full()
		k.space(s) // it comes between this call and what the loop makes of it
		return -1, errno
	case errno == unix.EINTR:
		return -1, errno
	case errno != 0:
		if k.rng.IntN(2) == 0 {
			k.cut(s)
		} else {
			s.broken, s.mute = true, true
		}
		return -1, errno
	}
	switch {
	case s.err != 0:
		errno, s.err = s.err, 0
		return -1, errno
	case s.gone && s.kind&kindTerminal != 0:
		return -1, unix.EIO
	case s.gone || s.finOut || s.mute:
		return -1, unix.EPIPE
	}
	n = k.fits(s, total)
	if n < total {
		f.full()
	}
	if n == 0 {
		return -1, unix.EAGAIN
	}
	k.carry(s, pieces, n)
	return n, 0
}

// fits returns how many of n bytes a send takes. A packet goes whole or not.
func (k *simKernel) fits(s *simSocket, n int) int {
	room := max(0, s.size-s.unread)
	took := min(n, room)
	switch {
	case !s.kind.isStream() && room > 0:
		took = n
	case took > 1 && k.faults.short(k.rng):
		took = 1 + k.rng.IntN(took)
	}
	return took
}

// full notes that a send fell short: an edge of room is due, and until it is
// told nobody should try again.
func (f *simFile) full() {
	f.sock.nospace = true
	if f.mask&unix.EPOLLOUT != 0 {
		f.told = max(0, f.told-1)
	}
}

// carry puts the first n bytes on the wire.
func (k *simKernel) carry(s *simSocket, pieces [][]byte, n int) {
	s.taken += n
	s.unread += n
	for _, p := range pieces {
		p = p[:min(n, len(p))]
		s.conn.wire(p)
		n -= len(p)
	}
	if s.peerClosed {
		k.reset(s, unix.ECONNRESET)
	}
	k.space(s) // a send that fell short for another reason: the room comes before OUT is armed
}

// space is the edge of room that a short send has asked for.
func (k *simKernel) space(s *simSocket) {
	if s.nospace && s.writable() {
		s.nospace = false
		k.wake(s.file, unix.EPOLLOUT)
	}
}

// reset is the arrival of RST, or of another error of the network. What came
// before stays readable.
func (k *simKernel) reset(s *simSocket, err unix.Errno) {
	if s.gone {
		return
	}
	if s.finIn {
		err = unix.EPIPE
	}
	s.gone = true
	if s.kind.isSocket() {
		s.err = err
	}
	k.wake(s.file, 0)
}

// cut ends a connection whose error an injected failure has returned.
func (k *simKernel) cut(s *simSocket) {
	s.gone, s.broken, s.err = true, true, 0
	k.wake(s.file, 0)
}

func (k *simKernel) shutdown(fd int) error {
	k.step()
	f := k.file("shutdown", fd)
	s := f.sock
	if c := s.conn.c; s.finOut && !s.conn.shut || c.Queued() > 0 || !s.kind.isSocket() {
		k.fail("shutdown twice, before output, or of no socket:", f)
	}
	if errno := k.faults.next(callShutdown, k.rng); errno != 0 {
		k.cut(s)
	}
	if s.gone {
		return unix.ENOTCONN
	}
	s.finOut = true
	if k.rng.IntN(2) == 0 {
		k.wake(f, 0) // Linux always does
	}
	return nil
}

func (k *simKernel) socketErr(fd int) unix.Errno {
	s := k.file("getsockopt", fd).sock
	k.calls++
	if !s.kind.isSocket() {
		k.fail("getsockopt of no socket:", s.file)
	}
	err := s.err
	if k.faults.next(callSockErr, k.rng) == 0 {
		s.err = 0
	}
	return err
}

// poll is poll(2).
func (k *simKernel) poll(fd int, events int16) int16 {
	k.step()
	f := k.file("poll", fd)
	bits := f.holds() & (uint32(events) | hangup)
	taken := events&unix.POLLIN != 0 && f.sock.conn.shown < f.sock.read // by the ring, and not yet passed on
	if bits == 0 && !taken {
		f.sock.denied = k.clock
	}
	return int16(bits)
}

// unsent is SIOCOUTQ as a Unix socket has it: what the peer has not read.
func (k *simKernel) unsent(fd int) int {
	k.step()
	return k.file("ioctl", fd).sock.unread
}

// unread is SIOCINQ.
func (k *simKernel) unread(fd int) int {
	k.step()
	s := k.file("ioctl", fd).sock
	return s.sent - s.read
}

// finished is poll and SIOCINQ for packets: an end, and nothing in front of it.
func (k *simKernel) finished(fd int) bool {
	s := k.file("poll", fd).sock
	k.calls++
	return (s.finIn || s.gone) && !s.waits()
}
