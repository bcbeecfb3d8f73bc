// SPDX-License-Identifier: Apache-2.0

package daemon

import "golang.org/x/sys/unix"

// A sockOpt is an integer socket option (setsockopt(2)).
type sockOpt struct{ level, name, value int }

// set ignores errors: MPTCP, for one, refuses some options of TCP, and a
// client is not to be turned away for that.
func (o sockOpt) set(fd int) { _ = unix.SetsockoptInt(fd, o.level, o.name, o.value) }

func (o sockOpt) unset(fd int) bool {
	v, err := unix.GetsockoptInt(fd, o.level, o.name)
	return err == nil && v == 0
}

// What TCP connections get beside TCP_NODELAY, which is the loop's: a peer
// that vanished without a word is found after a minute, with data on the way
// to it (TCP_USER_TIMEOUT) or without (keepalive); see tcp(7).
var (
	userTimeout = sockOpt{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 60_000}
	keepAlive   = []sockOpt{
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 30},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 10},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 3},
	}
)

// tuneListener sets the options on a listener of our own, from which accepted
// sockets inherit them, and returns what has to be set on each. An inherited
// listener is shared with the service manager and later processes and is left
// as it is; what its unit has set stays the administrator's choice.
func tuneListener(fd int, inherited bool) (each []sockOpt) {
	if userTimeout.unset(fd) {
		each = append(each, userTimeout)
	}
	if keepAlive[0].unset(fd) {
		each = append(each, keepAlive...)
	}
	if inherited {
		return each
	}
	for _, o := range each {
		o.set(fd)
	}
	return nil
}
