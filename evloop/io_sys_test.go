// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/evloop/internal/uring"
)

// throughSeam returns a loop whose system calls are real ones, made by the
// functions of a simulation. change may count, replace or fail some of them:
// a few errors cannot be had from a real kernel on demand. Every connection is
// taken for TCP, so it serves stream sockets only.
func throughSeam(t *testing.T, cfg Config, change func(*simulation)) *Loop {
	t.Helper()
	k := &kernel{epfd: -1}
	type registration struct {
		op, fd int
		events uint32
		data   token
	}
	var early []registration // the loop's own eventfd, before epfd is known here
	conn := func(fd int) *Conn { return &Conn{fd: int32(fd), kind: bothWays | kindSocket | kindTCP} }
	sim := &simulation{
		now: k.now,
		epollCtl: func(op, fd int, events uint32, data token) error {
			if k.epfd < 0 {
				early = append(early, registration{op, fd, events, data})
				return nil
			}
			return k.epollCtl(op, fd, events, data)
		},
		epollWait:  k.epollWait,
		recv:       func(fd int, p []byte) (int, bool, unix.Errno) { return k.recv(conn(fd), p) },
		send:       func(fd int, pieces [][]byte) (int, unix.Errno) { return k.send(conn(fd), pieces) },
		accept:     func(fd int) (int, netip.AddrPort, unix.Errno) { return k.accept(fd) },
		shutdown:   k.shutdown,
		socketErr:  k.socketErr,
		finished:   func(fd int) bool { return k.finished(conn(fd)) },
		closeReset: k.close,
		poll:       func(fd int, events int16) int16 { return k.poll(int32(fd), events) },
		unsent:     k.unsent,
		classify:   func(int) fdKind { return bothWays | kindSocket | kindTCP },
		pause:      k.pause,
		closeFD:    k.closeFD,
		ring: func(count, size int) *uring.Ring {
			r, err := k.ring(count, size)
			if err != nil {
				t.Skipf("this kernel refuses: %v", err)
			}
			return r
		},
	}
	if change != nil {
		change(sim)
	}
	l, err := newLoop(cfg, sim)
	if err != nil {
		t.Fatal(err)
	}
	k.epfd = l.sys.epfd
	for _, e := range early {
		if err := k.epollCtl(e.op, e.fd, e.events, e.data); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// newSeamRig returns a rig around such a loop.
func newSeamRig(t *testing.T, change func(*simulation)) *rig {
	t.Helper()
	return newRig(t, func(cfg Config) *Loop { return throughSeam(t, cfg, change) })
}
