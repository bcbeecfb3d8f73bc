// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A conduit is the pipe through which splice(2) moves bytes from one socket to another.
// It is made when it is first needed, and is empty between two calls of splice.
type conduit struct {
	out, in int // to read from and to write to; both 0: there is none
	refused bool
}

// conduitSize is what the pipe is asked to hold (F_SETPIPE_SZ, pipe(7)). It counts pages, and
// of small segments a page may hold less.
const conduitSize = 256 << 10

// splice moves input of c to another connection, if it may go there, and returns how much:
// at most limit, and what the kernel has room for, so that little has to be read back. With
// 0 it is to be read, which also tells why nothing has come; with -1 c has ended. Behind bytes
// with a mark (see marks), splice does not tell an end from urgent data.
//
// Pieces of 64 KiB were tried: each ends in a send, and with BBR, which paces what it sends,
// a timer for each made it as dear as copying.
func (e *epoll) splice(c *Conn, limit int) int {
	if c.edge&edgeMark != 0 {
		return 0
	}
	l := e.l
	e.flooded = nil
	to := c.relay()
	if to == nil || !l.sys.open() {
		return 0
	}
	l.sys.widen(to)
	e.flooded = to
	room := l.sys.room(int(to.fd))
	if room < readSize {
		return 0 // the queue is for a receiver that is behind
	}
	n, errno := l.sys.fill(int(c.fd), min(limit, room))
	switch {
	case ofSocket(errno):
		l.broken(c, os.NewSyscallError("recv", errno))
		return -1
	case n <= 0 || errno != 0:
		return 0
	}
	left, errno := l.sys.pourAll(int(to.fd), n)
	l.enter()
	l.relayed(c, to, n, left)
	if left > 0 {
		l.relayRest(c, to, left)
	}
	if ofSocket(errno) {
		l.sendFailed(to, os.NewSyscallError("send", errno))
	}
	l.leave()
	return n
}

// ofSocket reports whether an error of splice is one that a socket tells once: after a reset,
// recv would find an orderly end, and send EPIPE. The others are of the call, or of
// whoever forbids it. Then bytes are copied, and a socket that has failed says so again.
func ofSocket(errno unix.Errno) bool {
	switch errno {
	case 0, unix.EAGAIN, unix.EINTR, unix.EBADF, unix.EINVAL, unix.ENOMEM, unix.ENOBUFS, unix.ESPIPE,
		unix.ENOSYS, unix.EPERM, unix.EACCES:
		return false
	}
	return true
}

// filled notes whether a read has brought as much as one can. Two in a row are a flood, which
// may be spliced until one is short. One that was to bring no more than size, which the
// budget has left, says nothing if it did.
func (e *epoll) filled(c *Conn, n, size int) {
	full := n >= e.full
	switch {
	case n == size && size < e.full:
	case full && c.edge&edgeFull != 0:
		c.edge |= edgeFlood
	case full:
		c.edge |= edgeFull
	default:
		if c.edge&edgeFlood != 0 {
			e.flooded = nil
		}
		c.edge &^= edgeFull | edgeFlood
	}
}

// narrow gives c, which is about to send what was queued, the bound that Options say,
// unless that is the rest of a flood. Nobody else knows that a flood is over: a handler may
// say anything of c by then.
func (e *epoll) narrow(c *Conn) {
	switch {
	case c.flags&flagBounded == 0:
		c.boundFor(c.Queued())
	case c.edge&edgeWide != 0 && c != e.flooded:
		e.l.sys.boundOutput(c, kernelQueue(c.opts.queue()), relayUnsent)
	}
}

// open makes the pipe, and reports whether there is one.
func (k *kernel) open() bool {
	p := &k.conduit
	if k.sim != nil || p.in != 0 || p.refused {
		return !p.refused
	}
	var fds [2]int
	switch unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC) {
	case nil:
	case unix.EMFILE, unix.ENFILE, unix.ENOMEM: // there may be one later
		return false
	default:
		p.refused = true // bytes are copied, as between other descriptors
		return false
	}
	p.out, p.in = fds[0], fds[1]
	_, _ = unix.FcntlInt(uintptr(p.in), unix.F_SETPIPE_SZ, conduitSize)
	return true
}

// closeConduit gives the pipe back.
func (k *kernel) closeConduit() {
	if p := &k.conduit; p.in != 0 {
		unix.Close(p.out)
		unix.Close(p.in)
		*p = conduit{refused: true}
	}
}

const spliceFlags = unix.SPLICE_F_MOVE | unix.SPLICE_F_NONBLOCK

// fill moves bytes from a socket to the pipe. SPLICE_F_NONBLOCK is for the pipe alone: a
// socket waits unless it has O_NONBLOCK. The call is raw, since while it lasts, which
// may be tens of microseconds, the scheduler would give a lone processor to another
// thread.
func (k *kernel) fill(fd, most int) (int, unix.Errno) {
	if k.sim != nil {
		return k.sim.fill(fd, most)
	}
	k.keepNonblock(fd)
	r, _, errno := unix.RawSyscall6(unix.SYS_SPLICE, uintptr(fd), 0, uintptr(k.conduit.in), 0, uintptr(most), spliceFlags)
	return int(r), errno
}

// pourAll moves n bytes from the pipe to a socket, as far as it takes them, and returns how
// many are left.
func (k *kernel) pourAll(fd, n int) (left int, errno unix.Errno) {
	for n > 0 {
		m, errno := k.pour(fd, n)
		switch {
		case errno == unix.EINTR:
		case m <= 0 || errno != 0:
			return n, errno
		default:
			n -= m
		}
	}
	return 0, 0
}

// pour moves up to n bytes from the pipe to a socket.
func (k *kernel) pour(fd, n int) (int, unix.Errno) {
	if k.sim != nil {
		return k.sim.pour(fd, n)
	}
	k.keepNonblock(fd)
	r, _, errno := unix.RawSyscall6(unix.SYS_SPLICE, uintptr(k.conduit.out), 0, uintptr(fd), 0, uintptr(n), spliceFlags)
	return int(r), errno
}

// readBack reads from the pipe, in which there is at least as much as p takes.
func (k *kernel) readBack(p []byte) (int, error) {
	if k.sim != nil {
		return k.sim.readBack(p), nil
	}
	for {
		r, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(k.conduit.out), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
		if errno == 0 && r > 0 {
			return int(r), nil
		}
		if errno != unix.EINTR {
			k.closeConduit() // with what is in it
			return 0, os.NewSyscallError("read", errno)
		}
	}
}

// room returns how much output TCP will take: up to relayUnsent that is not sent yet
// (SIOCOUTQNSD, Linux 2.6.40), and up to its buffer (SO_SNDBUF, which it makes larger as
// it goes) that is not acknowledged yet (SIOCOUTQ). An emulator may know the latter alone,
// which is never less.
func (k *kernel) room(fd int) int {
	if k.sim != nil {
		return relayUnsent
	}
	unacked := k.unsent(fd)
	unsent, err := unix.IoctlGetInt(fd, unix.SIOCOUTQNSD)
	if err != nil {
		unsent = unacked
	}
	size, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
	if err != nil {
		return 0
	}
	return min(relayUnsent-unsent, size-unacked)
}

// widen has the kernel keep relayUnsent of c's output, until narrow or the next bound.
func (k *kernel) widen(c *Conn) {
	if c.edge&edgeWide == 0 {
		k.boundOutput(c, max(relayUnsent, c.opts.queue()), 0)
		c.edge |= edgeWide
		c.flags |= flagBounded
	}
}
