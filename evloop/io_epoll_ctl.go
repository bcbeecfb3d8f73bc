// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"os"

	"golang.org/x/sys/unix"
)

// What epoll is told of a descriptor, by epoll_ctl(2): when a connection begins, when
// it ends, and when it waits for room. A message that the kernel takes at once does not
// come here.

// interest returns the mask of c as it should stand. A write-only end has
// nothing to read; the kernel reports its ERR unasked.
func interest(c *Conn) uint32 {
	mask := uint32(edgeTriggered)
	if c.kind.reads() {
		mask = interestRead
	}
	if c.edge&edgeArmed != 0 {
		mask |= unix.EPOLLOUT
	}
	return mask
}

// open registers c. ADD reports at once what is there already, also the room
// for output of a connection that was restored.
func (e *epoll) open(c *Conn) error {
	if c.out.bytes > 0 {
		c.edge |= edgeArmed | edgeStuck
	}
	return e.register(c)
}

func (e *epoll) register(c *Conn) error {
	if c.kind&(kindUnix|kindPacket) == kindUnix && e.l.sys.refuseRights(int(c.fd)) {
		c.edge |= edgeNoRights
	}
	return e.l.sys.epollAdd(int(c.fd), interest(c), newToken(sourceConn, c.slot, c.gen))
}

// modify replaces the mask of c.
func (e *epoll) modify(c *Conn) {
	if err := e.l.sys.epollMod(int(c.fd), interest(c), newToken(sourceConn, c.slot, c.gen)); err != nil {
		c.fail(err)
	}
}

// end closes c's descriptor, which is taken out of epoll first: epoll watches
// the open file description. If another process holds that too, events would go
// on for a number that is no longer ours.
func (e *epoll) end(c *Conn) {
	e.l.sys.close(int(c.fd), c.flags&flagReset != 0 && c.kind&kindTCP != 0)
}

// detach leaves the input in the kernel, where it is.
func (e *epoll) detach(conns []*Conn) error {
	if e.mayRenew(len(conns)) && e.renew() == nil {
		return nil
	}
	for _, c := range conns {
		e.l.sys.epollDel(int(c.fd))
	}
	return nil
}

func (k *kernel) epollAdd(fd int, events uint32, t token) error {
	return k.epollCtl(unix.EPOLL_CTL_ADD, fd, events, t)
}

func (k *kernel) epollMod(fd int, events uint32, t token) error {
	return k.epollCtl(unix.EPOLL_CTL_MOD, fd, events, t)
}

// epollDel ends the registration of a descriptor that lives on.
func (k *kernel) epollDel(fd int) {
	if k.sim != nil {
		k.sim.epollCtl(unix.EPOLL_CTL_DEL, fd, 0, 0)
		return
	}
	unix.EpollCtl(k.epfd, unix.EPOLL_CTL_DEL, fd, nil)
}

func (k *kernel) epollCtl(op, fd int, events uint32, t token) error {
	if k.sim != nil {
		return k.sim.epollCtl(op, fd, events, t)
	}
	// Both words of epoll_data are written: x/sys calls them Fd and Pad on
	// every architecture, and the kernel hands back all 64 bits.
	ev := unix.EpollEvent{Events: events, Fd: int32(uint32(t)), Pad: int32(uint32(t >> 32))}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(k.epfd, op, fd, &ev))
}
