// SPDX-License-Identifier: Apache-2.0

package evloop

import "golang.org/x/sys/unix"

// The loop sets these options for its own sake, on every socket. If the kernel
// refuses one, a service still keeps what it promises, so errors are ignored.

// refuseRights has the kernel refuse descriptors that the peer passes from now
// on (SO_PASSRIGHTS, Linux 6.16), and reports whether it will.
func (k *kernel) refuseRights(fd int) bool {
	return k.sim == nil && unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSRIGHTS, 0) == nil
}

// boundOutput has the kernel keep about n bytes of unsent output of c. before is
// the bound that it was given last; zero means that it had its own.
//
// On TCP the bound is for bytes that have not gone out yet (TCP_NOTSENT_LOWAT,
// tcp(7)). The TCP window bounds what is on the wire: a long path needs that
// much. The send that reaches the bound may fill one segment more. A Unix
// stream has one buffer, which SO_SNDBUF bounds by the memory that it takes.
// The kernel doubles the value for that; with half of it bulk output loses a
// third of its speed. A buffer that somebody has made smaller stays so. A
// packet must fit into the buffer as a whole, so a socket of packets keeps its
// own.
func (k *kernel) boundOutput(c *Conn, n, before int) {
	fd := int(c.fd)
	c.edge &^= edgeWide
	switch {
	case k.sim != nil || !c.kind.isStream():
	case c.kind&kindTCP != 0:
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, n) // MPTCP may refuse
	case c.kind.isSocket():
		if now, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF); err == nil && (now > 2*n || now == 2*before) {
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, n)
		}
	}
}

// lingers reports whether a close of fd, or of what it accepts, may wait for
// the peer (SO_LINGER, socket(7)).
func (k *kernel) lingers(fd int) bool {
	v, err := unix.GetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER)
	return err == nil && v.Onoff != 0
}

// tune sets the options of a socket that somebody else has made. One that comes
// back from another loop has them.
func (k *kernel) tune(c *Conn) {
	if k.sim != nil || !c.kind.isSocket() {
		return
	}
	k.neverLinger(int(c.fd))
	k.noDelay(c)
}

// noDelay has TCP send at once, as in admit.
func (k *kernel) noDelay(c *Conn) {
	if k.sim == nil && c.kind&kindTCP != 0 {
		unix.SetsockoptInt(int(c.fd), unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
}

// neverLinger has close return at once, and leave the rest to the kernel.
func (k *kernel) neverLinger(fd int) {
	unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{})
}
