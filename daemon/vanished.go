// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/listen"
	"penstock/daemon/internal/service"
	"penstock/evloop"
)

// While output is on the way to a peer, the peer may have vanished without closing
// the connection, or it may be alive and just not read. TCP_USER_TIMEOUT cannot tell
// the two apart: it also cuts a peer that answers each probe of its closed window. So
// it is not set for a service whose stall_timeout is "0s" or longer than that
// timeout. For such a service the daemon asks the kernel from time to time
// (TCP_INFO):
//
//	               unanswered probes or      last acknowledgment
//	               retransmissions
//	is alive       0, or 1 on its way        answered the last probe
//	has vanished   2 or more                 two minutes ago or more
//
// The kernel's own bound, tcp_retries2, is a quarter of an hour. Probes are up to two
// minutes apart, so if a peer vanishes after a long stall, it may take four minutes to
// find that out.
//
// The timer runs only while output may wait. The first callback of such a service
// arms it, and it is armed again as long as the kernel or a queue holds output for
// one of the clients. So silent clients cause no wake-ups.

// A vanished is the state of a look at all connections. A look takes several turns of
// the loop, vanishedPortion connections in each.
type vanished struct {
	patient int             // open connections that the daemon must look at
	left    []evloop.ConnID // still to be looked at
	waits   bool            // output waits for a connection that was looked at
}

const (
	vanishedLook    = 30 * time.Second
	vanishedPortion = 64 // connections looked at in a turn of the loop
)

// isPatient reports whether a peer that does not read may stay longer than
// TCP_USER_TIMEOUT allows.
func isPatient(stall time.Duration) bool { return stall == 0 || stall > listen.VanishedAfter }

// isWatched reports whether the daemon itself looks after the peer of c.
func isWatched(c *evloop.Conn) bool {
	s, client := c.State.(*service.Session)
	return client && s.IsTCP() && isPatient(c.Options().StallTimeout)
}

// watchPeer has it noticed when a TCP peer vanishes while output is on the way to it:
// by the daemon or by the kernel.
func (d *Daemon) watchPeer(c *evloop.Conn, s *service.Session) {
	switch {
	case isWatched(c):
		d.vanished.patient++
	case s.IsTCP():
		listen.CutVanished(c.FD())
	}
}

// watching says who looked after a peer in the former process.
type watching uint64

const (
	watchedByAny    watching = iota // nobody knows
	watchedByKernel                 // TCP_USER_TIMEOUT is set
	watchedByUs                     // it is not
)

// watchRestored is watchPeer for a connection of the former process, which has its
// options: they are set only if the other side looks after it now.
func (d *Daemon) watchRestored(c *evloop.Conn, s *service.Session, was watching) {
	now := watchedByKernel
	if isWatched(c) {
		now = watchedByUs
	}
	switch {
	case now == watchedByUs:
		d.vanished.patient++
		if was != now {
			listen.SpareVanished(c.FD())
		}
	case was != now:
		d.watchPeer(c, s)
	}
}

// watchAgain is called when a reload may have changed for how long a peer may stay that
// does not read. was is whether the daemon looked after it before.
func (d *Daemon) watchAgain(c *evloop.Conn, was bool) {
	if isWatched(c) == was {
		return
	}
	if was {
		d.vanished.patient--
	} else {
		listen.SpareVanished(c.FD())
	}
	d.watchPeer(c, service.SessionOf(c))
}

// outputMayWait is called when a service may have sent something.
func (d *Daemon) outputMayWait() {
	if d.vanished.patient > 0 {
		d.arm(timerVanished, vanishedLook)
	}
}

// findVanished continues a look, or begins one.
func (d *Daemon) findVanished() {
	v := &d.vanished
	if len(v.left) == 0 {
		v.waits = false
		for c := range d.loop.Conns() {
			if isWatched(c) {
				v.left = append(v.left, c.ID())
			}
		}
	}
	n := min(len(v.left), vanishedPortion)
	for _, id := range v.left[:n] {
		if c := d.loop.Conn(id); c != nil {
			v.waits = d.lookAt(c) || v.waits
		}
	}
	v.left = v.left[n:]
	switch {
	case len(v.left) > 0:
		d.arm(timerVanished, 0)
		return
	case v.waits:
		d.arm(timerVanished, vanishedLook)
	}
	v.left = nil
}

// lookAt cuts a connection whose peer has vanished, and reports whether output
// waits for it.
func (d *Daemon) lookAt(c *evloop.Conn) (waits bool) {
	info, err := unix.GetsockoptTCPInfo(c.FD(), unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return false
	}
	if isSilent(info) {
		c.Abort(os.NewSyscallError("send", unix.ETIMEDOUT))
		return false
	}
	return c.Queued() > 0 || isOwed(info)
}

// isOwed reports whether the kernel holds output for a peer.
func isOwed(info *unix.TCPInfo) bool { return info.Unacked > 0 || info.Notsent_bytes > 0 }

// isSilent reports whether what is known of a peer says that it has vanished.
func isSilent(info *unix.TCPInfo) bool {
	unanswered := int(info.Retransmits) + int(info.Probes)
	return unanswered >= 2 && time.Duration(info.Last_ack_recv)*time.Millisecond >= listen.VanishedAfter
}
