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

// A peer that has vanished without a word, while output is on the way to it, is
// not one that just does not read. TCP_USER_TIMEOUT cannot tell them apart: it
// cuts a peer even if that answers each probe of its closed window. So it is not
// set for a service whose stall_timeout is longer, or "0s"; instead the daemon
// asks the kernel now and then (TCP_INFO):
//
//	                 probes or retransmissions   last acknowledgment
//	                 without an answer
//	lives            0, or 1 on the way          of the last probe
//	has vanished     2 and more                  two minutes ago and more
//
// The kernel's own bound, tcp_retries2, is a quarter of an hour. Probes are up to
// two minutes apart, so a peer that vanishes after a long stall is found after
// four. The timer runs only while there is a connection of such a service.

// A vanished is the state of a look at all connections, which goes in portions.
type vanished struct {
	armed bool
	left  []evloop.ConnID // still to be looked at
}

const (
	vanishedLook    = 30 * time.Second
	vanishedPortion = 64 // connections looked at in a turn of the loop
)

// patient reports whether a peer that does not read may stay longer than
// TCP_USER_TIMEOUT allows.
func patient(stall time.Duration) bool { return stall == 0 || stall > listen.VanishedAfter }

// watchPeer has the end of a TCP peer noticed even while output is on the way to
// it.
func (d *Daemon) watchPeer(c *evloop.Conn, s *service.Session) {
	switch {
	case !s.Peer.Addr.IsValid():
	case !patient(c.Options().StallTimeout):
		listen.CutVanished(c.FD())
	case !d.vanished.armed:
		d.vanished.armed = true
		d.schedule(timerVanished, vanishedLook)
	}
}

// findVanished goes on with a look, or begins one.
func (d *Daemon) findVanished() {
	v := &d.vanished
	if len(v.left) == 0 {
		for c := range d.loop.Conns() {
			if s, ok := c.State.(*service.Session); ok && s.Peer.Addr.IsValid() && patient(c.Options().StallTimeout) {
				v.left = append(v.left, c.ID())
			}
		}
		if v.armed = len(v.left) > 0; !v.armed {
			v.left = nil
			return
		}
	}
	n := min(len(v.left), vanishedPortion)
	for _, id := range v.left[:n] {
		if c := d.loop.Conn(id); c != nil && hasVanished(c.FD()) {
			c.Abort(os.NewSyscallError("send", unix.ETIMEDOUT))
		}
	}
	v.left = v.left[n:]
	if len(v.left) > 0 {
		d.schedule(timerVanished, 0)
		return
	}
	v.left = nil
	d.schedule(timerVanished, vanishedLook)
}

// hasVanished asks the kernel about the peer of a TCP socket.
func hasVanished(fd int) bool {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	return err == nil && isSilent(info)
}

// isSilent reports whether what is known of a peer says that it has vanished.
func isSilent(info *unix.TCPInfo) bool {
	unanswered := int(info.Retransmits) + int(info.Probes)
	return unanswered >= 2 && time.Duration(info.Last_ack_recv)*time.Millisecond >= listen.VanishedAfter
}
