// SPDX-License-Identifier: Apache-2.0

package evloop

import "golang.org/x/sys/unix"

// A simPipe is the pipe of splice(2), as positions in what one peer has sent. It belongs
// to an echo, whose output is its input.
type simPipe struct {
	s        *simSocket
	from, to int
}

// fill is splice from a socket to the pipe.
func (k *simKernel) fill(fd, most int) (int, unix.Errno) {
	k.step()
	s, p := k.file("splice", fd).sock, &k.pipe
	m := s.conn
	switch {
	case p.from < p.to:
		k.fail("splice from", s.id, "into a pipe that is not empty")
	case s.kind&kindTCP == 0 || most <= 0:
		k.fail("splice of", most, "bytes from", s.id)
	case m.consumed != s.read:
		k.fail("splice from", s.id, "before", s.read-m.consumed, "bytes that were read")
	case !s.waits() && !s.finIn && s.err != 0: // it is told once, as by recv
		errno := s.err
		s.err = 0
		return -1, errno
	case !s.waits() || k.faults.short(k.rng):
		return -1, unix.EAGAIN // also at the end, which only a read may find
	}
	n := min(most, s.sent-s.read)
	if k.faults.short(k.rng) {
		n = 1 + k.rng.IntN(n)
	}
	*p = simPipe{s, s.read, s.read + n}
	s.read += n
	m.consumed, m.shown = s.read, s.read
	m.fresh += n
	m.readBefore += n - n/spliceGain // the bound of a turn is for what is read
	m.lastData = k.clock
	m.accepted += n
	m.acceptedN++
	k.trace("splice from %d: %d of %d", fd, n, most)
	return n, 0
}

// bytes returns the next n that are in the pipe.
func (p *simPipe) bytes(n int) []byte {
	b := make([]byte, min(n, p.to-p.from))
	simFill(b, p.s.id, p.from)
	return b
}

// pour is splice from the pipe to a socket, which takes as much as a send.
func (k *simKernel) pour(fd, n int) (int, unix.Errno) {
	p := &k.pipe
	if n != p.to-p.from || k.file("splice", fd).sock != p.s {
		k.fail("splice of", n, "bytes to", fd, "of", p.to-p.from)
	}
	n, errno := k.send(fd, [][]byte{p.bytes(n)})
	if errno == 0 {
		p.from += n
	}
	return n, errno
}

// readBack is read from the pipe.
func (k *simKernel) readBack(b []byte) int {
	k.step()
	n := copy(b, k.pipe.bytes(len(b)))
	k.pipe.from += n
	k.trace("read %d back", n)
	return n
}
