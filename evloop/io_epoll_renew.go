// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"os"

	"golang.org/x/sys/unix"
)

// When nearly all connections leave, as for a restart, they need not be taken out of
// epoll one by one, which takes a system call for each. A second epoll gets the few
// descriptors that stay, and the first one is closed with the registrations of all
// others. EPOLL_CTL_ADD reports what holds already, so no news of those that stay is
// lost with the first one; some come twice, as they may at any time.

// fewToRenew is how many must leave at least. The rest of a smaller loop may be as
// many.
const fewToRenew = 64

// mayRenew reports whether a second epoll takes fewer calls, if leaving connections
// leave.
func (e *epoll) mayRenew(leaving int) bool {
	l := e.l
	all := l.conns.used + l.listeners.used + l.watches.used
	return leaving >= fewToRenew && leaving > all/2 && l.sys.sim == nil
}

// renew moves what stays to a second epoll. After an error everything is as it was.
func (e *epoll) renew() error {
	k := &e.l.sys
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	old := k.epfd
	k.epfd = fd
	if err := e.addStaying(); err != nil {
		k.epfd = old
		unix.Close(fd)
		return err
	}
	unix.Close(old)
	return nil
}

// addStaying registers all that does not leave. A lent connection is registered nowhere.
func (e *epoll) addStaying() error {
	l := e.l
	if err := l.wake.watch(&l.sys); err != nil {
		return err
	}
	for ln := range l.listeners.all {
		if err := ln.watch(); err != nil {
			return err
		}
	}
	for w := range l.watches.all {
		if err := w.watch(); err != nil {
			return err
		}
	}
	for c := range l.conns.all {
		if c.state >= stateDead || c.flags&(flagLeaving|flagLent) != 0 {
			continue
		}
		if err := l.sys.epollAdd(int(c.fd), interest(c), newToken(sourceConn, c.slot, c.gen)); err != nil {
			return err
		}
	}
	return nil
}
