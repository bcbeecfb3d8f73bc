// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"testing"

	"golang.org/x/sys/unix"
)

// keeps returns how much unsent output the kernel keeps of c.
func (x *relayRig) keeps(c *Conn) int {
	x.Helper()
	n, err := unix.GetsockoptInt(int(c.fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT)
	if err != nil {
		x.Fatal(err)
	}
	return n
}

// floods has the one peer send, and the other read, until the kernel keeps as much for it as
// a flood needs, and returns what it is to keep otherwise.
func (x *relayRig) floods() (usual int) {
	x.Helper()
	data := flood()[:256<<10]
	x.spin("a flood", func() bool {
		x.nearby.offer(data)
		x.faraw.read()
		return x.keeps(x.far) == relayUnsent
	})
	return kernelQueue(x.far.opts.queue())
}

// calms has the receiver read until nothing is left of a flood.
func (x *relayRig) calms() {
	x.Helper()
	x.spin("the end of a flood", func() bool {
		x.faraw.read()
		return x.rig.l.sys.unsent(x.nearby.fd) == 0 && !x.near.unread() && x.far.Queued() == 0 && x.far.BytesOut() == x.near.BytesIn()
	})
}

// While there is a flood the kernel keeps relayUnsent, and for the next output behind it what
// Options say, whatever the handler says of the sender by then.
func TestLoopRelayBound(t *testing.T) {
	eachBackend(t, func(r *rig) {
		for _, other := range []string{"as before", "nil"} {
			x := newRelay(r, tcpPair, tcpPair)
			usual := x.floods()
			if other == "nil" {
				x.silent = true
			}
			x.calms()
			r.do(func() { x.far.WriteStatic([]byte("x")) })
			x.spin("a byte", func() bool { return len(x.faraw.read()) > 0 })
			if n := x.keeps(x.far); n != usual {
				r.Errorf("Relay %s: the kernel keeps %d bytes behind a flood, want %d", other, n, usual)
			}
		}
	})
}

// A flood that goes on by Data has the bound that Options say.
func TestLoopRelayBoundOfData(t *testing.T) {
	eachBackend(t, func(r *rig) {
		x, data := newRelay(r, tcpPair, tcpPair), flood()[:256<<10]
		usual := x.floods()
		x.silent = true
		r.spin("the bound", func() bool {
			x.nearby.offer(data)
			x.faraw.read()
			return x.keeps(x.far) == usual
		})
	})
}

// Options with the same Queue have the kernel keep that much within a flood, too.
func TestLoopRelayBoundSet(t *testing.T) {
	eachBackend(t, func(r *rig) {
		x := newRelay(r, tcpPair, tcpPair)
		usual := x.floods()
		r.do(func() {
			o := *x.far.Options()
			r.l.sys.widen(x.far)
			x.far.SetOptions(&o)
			if n := x.keeps(x.far); n != usual {
				r.Errorf("the kernel keeps %d bytes, want %d", n, usual)
			}
		})
	})
}

// A process that takes over within a flood sets the bound back.
func TestLoopRelayBoundRestart(t *testing.T) {
	eachBackend(t, func(r *rig) {
		x := newRelay(r, tcpPair, tcpPair)
		usual := kernelQueue(x.far.opts.queue())
		r.do(func() { r.l.sys.widen(x.far) })
		back := r.restart(Config{}, x.near.opts, nil, x.near, x.far)
		if n := x.keeps(back[1]); n != usual {
			r.Errorf("the kernel keeps %d bytes behind a restart, want %d", n, usual)
		}
	})
}

// With a budget of less than one read nothing is passed on in the kernel, which would be most
// of what a turn may cost. With one that leaves a rest behind a read, a flood is.
func TestLoopRelayBudget(t *testing.T) {
	eachBackend(t, func(r *rig) {
		for _, budget := range []int{readSize / 2, readSize + readSize/8} {
			r.use(Config{ReadBudget: budget})
			x, data := newRelay(r, tcpPair, tcpPair), flood()
			x.flow(data, always)
			switch {
			case budget < readSize && x.data != len(data):
				r.Errorf("with a budget of %d, Data got %d of %d bytes, want all", budget, x.data, len(data))
			case budget > readSize && x.data > len(data)/2:
				r.Errorf("with a budget of %d, Data got %d of %d bytes", budget, x.data, len(data))
			}
		}
	})
}
