// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
)

// A sockOpt is an integer socket option (setsockopt(2)).
type sockOpt struct{ level, name, value int }

// set ignores errors. MPTCP, for example, refuses some options of TCP, and that is no
// reason to refuse a client.
func (o sockOpt) set(fd int) { _ = unix.SetsockoptInt(fd, o.level, o.name, o.value) }

func (o sockOpt) unset(fd int) bool {
	v, err := unix.GetsockoptInt(fd, o.level, o.name)
	return err == nil && v == 0
}

// VanishedAfter is how long output to a peer may go unacknowledged before the peer
// counts as gone.
const VanishedAfter = 2 * time.Minute

// noDelay the loop sets on each connection, unless its listener has it.
var noDelay = sockOpt{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1}

// What TCP connections get beside TCP_NODELAY: a peer
// that vanished without a word is found after two minutes, with data on the way
// to it (TCP_USER_TIMEOUT) or without (keepalive); see tcp(7). The kernel
// counts both against TCP_USER_TIMEOUT, so that has to leave room for three
// probes after the longest silence: 30 + 60 + 3 * 10 seconds.
//
// TCP_USER_TIMEOUT also cuts a peer that is alive and answers probes of its closed
// window, but does not read. So it is set only if stall_timeout would cut such a peer
// earlier anyway. For the other services the daemon looks for vanished peers itself
// (daemon/vanished.go).
var (
	userTimeout = sockOpt{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(VanishedAfter / time.Millisecond)}
	keepAlive   = []sockOpt{ // and TCP_KEEPIDLE, see probe
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, config.KeepAliveInterval},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, config.KeepAliveProbes},
	}
)

// keepSpread is over how many seconds the first probes of connections are
// spread. Thousands that came together would otherwise be probed in the same
// moment, each time, because the kernel's timers get coarser with their length.
// The answers overflow its input queue (net.core.netdev_max_backlog, 1000
// packets), and clients that are alive are cut: 5000 of 8000 on loopback, after
// a minute.
const keepSpread = 60

// keepTogether is how many connections are probed in the moment of their listener, which
// they inherit without a system call. Their answers are a fifth of what the input queue
// takes.
const keepTogether = 200

// probe returns the option that gives connection id its own moment. base is
// what its listener has, by us or by its unit.
func probe(base int, id uint64) sockOpt {
	return sockOpt{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, base + int(id%keepSpread)}
}

// A Tuning is what a socket that was accepted does not inherit from its listener.
// The zero Tuning is for Unix sockets: nothing.
type Tuning struct {
	each     []sockOpt
	keepIdle int // seconds of silence before a probe
}

// Tune sets the options on a listener of our own, from which accepted sockets
// inherit them, and returns what has to be set on each. An inherited listener is
// shared with the service manager and later processes and is left as it is; what
// its unit has set stays the administrator's choice.
func (s *Socket) Tune() (t Tuning) {
	if s.Unix() {
		return Tuning{}
	}
	t.keepIdle = config.KeepAliveIdle
	switch {
	case !keepAlive[0].unset(s.FD): // what its unit has set is passed on
		if idle, err := unix.GetsockoptInt(s.FD, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE); err == nil {
			t.keepIdle = idle
		}
	case s.Inherited:
		t.each = keepAlive
	default:
		noDelay.set(s.FD)
		probe(t.keepIdle, 0).set(s.FD)
		for _, o := range keepAlive {
			o.set(s.FD)
		}
	}
	return t
}

// Set sets the options of connection id, which was accepted as fd beside others.
func (t Tuning) Set(fd int, id uint64, others int) {
	for _, o := range t.each {
		o.set(fd)
	}
	if t.keepIdle > 0 && (len(t.each) > 0 || others >= keepTogether) {
		probe(t.keepIdle, id).set(fd)
	}
}

// TuneBackend sets on a TCP connection that was made as fd what an accepted one has:
// one whose other end vanished without a word is found, unless output waits for it; see
// CutVanished. id spreads the probes.
func TuneBackend(fd int, id uint64) {
	Tuning{each: keepAlive, keepIdle: config.KeepAliveIdle}.Set(fd, id, 0)
}

// CutVanished has the kernel end a TCP connection whose peer has not acknowledged
// any output for VanishedAfter.
func CutVanished(fd int) { userTimeout.set(fd) }

// SpareVanished undoes CutVanished.
func SpareVanished(fd int) { sockOpt{userTimeout.level, userTimeout.name, 0}.set(fd) }
