// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// What a connection has to be whatever its socket was given before: the cases
// ask the kernel, for own and accepted sockets.

// SO_LINGER of a listener or of an added socket is cleared.
func TestLoopLingerCleared(t *testing.T) { eachBackend(t, lingerCleared) }

func lingerCleared(r *rig) {
	block := func(fd int) {
		if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 10}); err != nil {
			r.Fatal(err)
		}
	}
	ln := tcpListener(r.T, 8)
	block(ln)
	r.listenOn(ln)
	dial(r.T, ln)
	r.connected(1)
	var c *Conn
	for c = range r.l.Conns() {
	}
	ours, _ := tcpPair(r.T)
	block(ours)
	for what, c := range map[string]*Conn{"accepted": c, "added": r.add(ours)} {
		if v, err := unix.GetsockoptLinger(c.FD(), unix.SOL_SOCKET, unix.SO_LINGER); err != nil || v.Onoff != 0 {
			r.Errorf("%s: SO_LINGER %+v, %v; want it off", what, v, err)
		}
	}
}

// The kernel keeps as much output as the queue.
func TestLoopKernelBounded(t *testing.T) { eachBackend(t, kernelBounded) }

// A peer that does not read has megabytes kept for it by the kernel's own
// choice.
func kernelBounded(r *rig) {
	const segment = 64 << 10
	for _, queue := range []int{4 << 10, 64 << 10} {
		tcp, _ := r.tcp()
		local, _ := r.unix()
		for what, c := range map[string]*Conn{"TCP": tcp, "Unix": local} {
			c.SetOptions(&Options{Queue: queue, Overflow: DropNewest})
			line := make([]byte, 100)
			for c.Dropped() == 0 {
				r.do(func() {
					for range 100 {
						c.Write(line)
					}
				})
			}
			unsent := c.KernelQueued()
			if c.kind&kindTCP != 0 { // what the peer's kernel has taken may not be acknowledged yet
				var err error
				if unsent, err = unix.IoctlGetInt(c.FD(), siocoutqnsd); err != nil {
					r.Logf("%v, as under an emulator that does not know the question", err)
					continue
				}
			}
			r.Logf("%s, queue %d: the kernel holds %d bytes and has taken %d", what, queue, unsent, c.BytesOut())
			if unsent == 0 || unsent > 2*queue+segment {
				r.Errorf("%s: the kernel holds %d bytes, want about %d", what, unsent, queue)
			}
		}
	}
}

// The kernel's queue is bounded for a handler that sets no options, too: on TCP from the send
// on that may exceed the bound, since before it there is no need to ask.
func TestLoopKernelBoundedByDefault(t *testing.T) { eachBackend(t, kernelBoundedByDefault) }

// kernelBoundedByDefault looks at accepted and at added connections, of TCP and Unix.
func kernelBoundedByDefault(r *rig) {
	for _, ln := range []int{tcpListener(r.T, 8), unixListener(r.T, 8)} {
		r.listenOn(ln)
		dial(r.T, ln)
	}
	r.connected(2)
	tcp, _ := r.tcp()
	local, _ := r.unix()
	for c := range r.l.Conns() {
		added, own := c == tcp || c == local, kernelBound(r, c)
		if c.kind&kindTCP == 0 && own != DefaultQueue {
			r.Errorf("Unix, added %t: the kernel's bound is %d, want %d", added, own, DefaultQueue)
		}
		r.do(func() { c.Write(make([]byte, DefaultQueue/2)) })
		r.do(func() { c.Write(make([]byte, DefaultQueue/2)) })
		if got := kernelBound(r, c); got != own {
			r.Errorf("TCP %t, added %t: the kernel's bound is %d behind little output, want the %d it was", c.kind&kindTCP != 0, added, got, own)
		}
		r.do(func() { c.Write([]byte("x")) })
		if got := kernelBound(r, c); got != DefaultQueue {
			r.Errorf("TCP %t, added %t: the kernel's bound is %d, want %d", c.kind&kindTCP != 0, added, got, DefaultQueue)
		}
	}
}

// kernelBound returns how much output the kernel keeps of c.
func kernelBound(r *rig, c *Conn) int {
	r.Helper()
	level, option, doubled := unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, 1
	if c.kind&kindTCP == 0 {
		level, option, doubled = unix.SOL_SOCKET, unix.SO_SNDBUF, 2
	}
	n, err := unix.GetsockoptInt(c.FD(), level, option)
	if err != nil {
		r.Fatal(err)
	}
	return n / doubled
}

// Options that allow less than was sent are for the kernel at once.
func TestLoopKernelBoundedBySet(t *testing.T) {
	eachBackend(t, func(r *rig) {
		for _, open := range []func() (*Conn, *peer){r.tcp, r.unix} {
			const queue = 16 << 10
			c, _ := open()
			r.do(func() { c.Write(make([]byte, queue+1)) })
			c.SetOptions(&Options{Queue: queue})
			if got := kernelBound(r, c); got != queue {
				r.Errorf("TCP %t: the kernel's bound is %d, want %d", c.kind&kindTCP != 0, got, queue)
			}
		}
	})
}

// The kernel of a connection that another process serves is bounded, though the loop sees
// nothing of what it sends.
func TestLoopKernelBoundedLent(t *testing.T) {
	eachBackend(t, func(r *rig) {
		for _, pair := range []func(*testing.T) (int, *peer){tcpPair, streamPair} {
			c, _ := r.lent(pair)
			if got := kernelBound(r, c); got != DefaultQueue {
				r.Errorf("TCP %t: the kernel's bound is %d, want %d", c.kind&kindTCP != 0, got, DefaultQueue)
			}
		}
	})
}

// Short messages take more memory of a Unix socket than they have bytes.
func TestLoopKernelBoundedMemory(t *testing.T) {
	eachBackend(t, func(r *rig) {
		const queue = 4 << 10
		c, _ := r.unix()
		c.SetOptions(&Options{Queue: queue, Overflow: DropNewest})
		for range 300 {
			r.do(func() { c.Write([]byte("short\n")) })
		}
		if n := c.KernelQueued(); n > 3*queue {
			r.Errorf("the kernel holds %d bytes of memory, want about twice %d", n, queue)
		}
	})
}

// A restored connection has the kernel's bound of its options.
func TestLoopKernelBoundedByRestore(t *testing.T) { eachBackend(t, kernelBoundedByRestore) }

// kernelBoundedByRestore restores with a smaller queue, with a handler that sets no
// options, what had no bound and what had one.
func kernelBoundedByRestore(r *rig) {
	const queue = 16 << 10
	for _, sent := range []int{1, queue + 1, DefaultQueue + 1} {
		for _, open := range []func() (*Conn, *peer){r.tcp, r.unix} {
			c, _ := open()
			r.do(func() { c.Write(make([]byte, sent)) })
			fd, saved, err := detach(c)
			if err != nil {
				r.Fatal(err)
			}
			if c, err = restore(r.l, fd, r.probe, nil, &Options{Queue: queue}, saved); err != nil {
				unix.Close(fd)
				r.Fatal(err)
			}
			r.do(func() { c.Write(make([]byte, queue)) })
			if got := kernelBound(r, c); got != queue {
				r.Errorf("TCP %t, behind %d bytes: the kernel's bound is %d, want %d", c.kind&kindTCP != 0, sent, got, queue)
			}
		}
	}
}

const siocoutqnsd = 0x894b // of what has been written, that which has not gone out (linux/sockios.h)

// A send buffer that somebody has made small stays so.
func TestLoopSmallBufferStays(t *testing.T) { eachBackend(t, smallBufferStays) }

func smallBufferStays(r *rig) {
	c, _ := r.unix()
	unix.SetsockoptInt(c.FD(), unix.SOL_SOCKET, unix.SO_SNDBUF, 4096)
	c.SetOptions(&Options{Queue: 64 << 10})
	r.do(func() { c.Write(make([]byte, 64<<10+1)) })
	if n, _ := unix.GetsockoptInt(c.FD(), unix.SOL_SOCKET, unix.SO_SNDBUF); n != 8192 {
		r.Errorf("SO_SNDBUF is %d, want the 8192 it was", n)
	}
	d, _ := r.unix()
	d.SetOptions(&Options{Queue: 8 << 10})
	r.do(func() { d.Write(make([]byte, 8<<10+1)) })
	d.SetOptions(&Options{Queue: 32 << 10})
	if n, _ := unix.GetsockoptInt(d.FD(), unix.SOL_SOCKET, unix.SO_SNDBUF); n != 64<<10 {
		r.Errorf("SO_SNDBUF is %d after a larger queue, want %d", n, 64<<10)
	}
}

// The zone of a link-local peer is the name of its interface. Where the machine
// has no such address there is nothing to see.
func TestPeerHasZone(t *testing.T) {
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Skip(err)
	}
	for _, in := range interfaces {
		addrs, _ := in.Addrs()
		for _, a := range addrs {
			p, err := netip.ParsePrefix(a.String())
			if err != nil || !p.Addr().Is6() || !p.Addr().IsLinkLocalUnicast() {
				continue
			}
			sa := &unix.SockaddrInet6{Addr: p.Addr().As16(), ZoneId: uint32(in.Index)}
			ln := listener(t, unix.AF_INET6, unix.SOCK_STREAM, sa, 1)
			defer unix.Close(ln)
			dial(t, ln)
			k := &kernel{}
			fd, peer, errno := k.accept(ln)
			if errno != 0 {
				t.Fatal(errno)
			}
			unix.Close(fd)
			if got, want := peer.Addr(), p.Addr().WithZone(in.Name); got != want {
				t.Errorf("peer %v, want %v", got, want)
			}
			return
		}
	}
	t.Skip("no link-local address")
}
