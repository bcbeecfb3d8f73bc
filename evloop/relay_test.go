// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"golang.org/x/sys/unix"
)

// A forwarder passes on what each of two connections receives to the other, as a relay
// does.
type forwarder struct {
	*probe
	other map[*Conn]*Conn
	data  int // bytes that Data has seen

	onRelay func(*Conn) // nil: nothing
	silent  bool        // Relay says nil
}

func (f *forwarder) Relay(c *Conn) *Conn {
	if f.onRelay != nil {
		f.onRelay(c)
	}
	if f.silent {
		return nil
	}
	return f.other[c]
}

// A relayRig is two connections of the loop, between which bytes go on, and their peers.
type relayRig struct {
	*rig
	*forwarder
	near, far     *Conn
	nearby, faraw *peer
	urgentAt      int // behind how many bytes urgent data is sent; 0: none
}

func newRelay(r *rig, ends ...func(*testing.T) (int, *peer)) *relayRig {
	x := &relayRig{rig: r, forwarder: &forwarder{probe: r.probe}}
	r.probe.onData = func(c *Conn, p []byte) int {
		to := x.other[c]
		x.data += len(p)
		n := len(p)
		if q := to.Queued(); q > 0 {
			n = min(n, max(0, to.Options().Queue-q))
		}
		if n > 0 && !to.WriteStatic(p[:n]) {
			return len(p)
		}
		if n < len(p) {
			c.Pause()
		}
		return n
	}
	r.probe.onDrained = func(c *Conn) { x.other[c].Resume() }
	r.probe.onEOF = func(c *Conn) { x.other[c].CloseWrite() }
	x.near, x.nearby = x.join(ends[0])
	x.far, x.faraw = x.join(ends[1])
	x.other = map[*Conn]*Conn{x.near: x.far, x.far: x.near}
	return x
}

func (x *relayRig) join(pair func(*testing.T) (int, *peer)) (*Conn, *peer) {
	fd, p := pair(x.T)
	c, err := x.l.Add(fd, x.forwarder, nil)
	if err != nil {
		x.Fatal(err)
	}
	c.SetOptions(&Options{Queue: 64 << 10, Overflow: Disconnect})
	return c, p
}

// flow has the one peer send all of data and the other read, and compares. reads says
// whether it reads at this moment.
func (x *relayRig) flow(data []byte, reads func(sent, got int) bool) {
	x.Helper()
	sent, got := 0, []byte(nil)
	x.spin("a flood", func() bool {
		if x.urgentAt > 0 && sent >= x.urgentAt {
			if unix.Sendto(x.nearby.fd, []byte("!"), unix.MSG_OOB, nil) == nil {
				x.urgentAt = 0
			}
		} else if sent < len(data) {
			if sent += x.nearby.offer(data[sent:min(len(data), sent+256<<10)]); sent == len(data) {
				x.nearby.shut()
			}
		}
		if reads(sent, len(got)) {
			got = append(got, x.faraw.read()...)
		}
		if held := x.l.Stats().Queued; held > 4<<20 {
			x.Fatalf("%d bytes are held", held)
		}
		return len(got) >= len(data)
	})
	if !bytes.Equal(got, data) {
		x.Errorf("%d bytes arrived of %d, which agree on the first %d", len(got), len(data), commonPrefix(got, data))
	}
	x.spin("FIN", func() bool { _, err := x.faraw.receive(); return err == io.EOF })
	if in, out := x.near.BytesIn(), x.far.BytesOut(); in != uint64(len(data)) || out != in {
		x.Errorf("%d bytes are counted as received and %d as sent, want %d", in, out, len(data))
	}
}

func flood() []byte {
	data := make([]byte, 24<<20)
	for i := range data {
		data[i] = byte(i>>16) ^ byte(i*7)
	}
	return data
}

func always(int, int) bool { return true }

// A flood from one TCP connection to another arrives whole, with its end behind it, and
// most of it does not come by Data.
func TestLoopRelayFlood(t *testing.T) {
	eachBackend(t, func(r *rig) {
		x, data := newRelay(r, tcpPair, tcpPair), flood()
		x.flow(data, always)
		if x.data > len(data)/2 {
			r.Errorf("Data got %d of %d bytes", x.data, len(data))
		}
	})
}

// However much waits, a turn passes on about 128 KiB of a connection, and others get theirs.
func TestLoopRelayTurn(t *testing.T) {
	eachBackend(t, func(r *rig) {
		x, data := newRelay(r, tcpPair, tcpPair), flood()[:1<<20]
		before, most := uint64(0), uint64(0)
		r.spin("a flood", func() bool {
			for x.nearby.offer(data) > 0 {
			}
			x.faraw.read()
			n := x.near.BytesIn()
			before, most = n, max(most, n-before)
			return n > 48<<20
		})
		if most > 132<<10 { // pieces are rounded
			r.Errorf("a turn passes on up to %d bytes, want about 128 KiB", most)
		}
	})
}

// A receiver that reads nothing for long, and then all, gets every byte once. What waits for it
// meanwhile is bounded.
func TestLoopRelayToASlowReader(t *testing.T) {
	eachBackend(t, func(r *rig) {
		x := newRelay(r, tcpPair, tcpPair)
		unix.SetsockoptInt(x.faraw.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 64<<10)
		stuck, before := 0, -1
		x.flow(flood(), func(sent, got int) bool {
			if sent == before {
				stuck++
			}
			before = sent
			return stuck > 50 && stuck%3 == 0
		})
	})
}

// What the receiver has not taken is read back from the pipe and waits in its queue, and
// the sender is paused until it is gone, however little it is.
func TestLoopRelayReadsBack(t *testing.T) {
	eachBackend(t, func(r *rig) {
		x := newRelay(r, tcpPair, tcpPair)
		for i, size := range []int{192 << 10, 16} {
			rest := bytes.Repeat([]byte("0123456789abcdef"), size/16)
			r.do(func() {
				if !r.l.sys.open() {
					r.Fatal("no pipe")
				}
				if n, err := unix.Write(r.l.sys.conduit.in, rest); n != size || err != nil {
					r.Fatalf("the pipe took %d bytes, %v", n, err)
				}
				r.l.relayRest(x.near, x.far, size)
				if x.near.flags&flagPaused == 0 || x.far.Queued() != size || !x.far.Full() {
					r.Errorf("%d bytes are queued, want %d and the sender paused", x.far.Queued(), size)
				}
			})
			r.gets(x.faraw, rest)
			r.until("Drained", func() bool { return r.of(x.far).drained == i+1 && x.near.flags&flagPaused == 0 })
			if n, err := unix.Read(r.l.sys.conduit.out, make([]byte, 1)); err != unix.EAGAIN {
				r.Errorf("the pipe has %d bytes, %v", n, err)
			}
		}
	})
}

// A pipe that could not be made for want of descriptors is made when there are some again.
func TestLoopRelayPipe(t *testing.T) {
	eachBackend(t, func(r *rig) {
		var limit unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			r.Fatal(err)
		}
		none := unix.Rlimit{Max: limit.Max}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
			r.Fatal(err)
		}
		made := r.l.sys.open()
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			r.Fatal(err)
		}
		if made || !r.l.sys.open() {
			r.Errorf("with no descriptor left a pipe is made: %t; or none later", made)
		}
	})
}

// What is passed on is as much work as what is sent, and the calls for it as any other.
func TestLoopRelayIsWork(t *testing.T) {
	eachBackend(t, func(r *rig) {
		x := newRelay(r, tcpPair, tcpPair)
		r.do(func() {
			before := r.l.work.left
			r.l.relayed(x.near, x.far, 300<<10, 100<<10)
			if n := before - r.l.work.left; n != callWork+200<<10/workBytes {
				r.Errorf("200 KiB are %d units of work", n)
			}
		})
	})
}

// Between other sockets than two of TCP, everything goes by Data.
func TestLoopRelayCopiesUnix(t *testing.T) {
	local := func(t *testing.T) (int, *peer) { return socketPair(t, unix.SOCK_STREAM) }
	eachBackend(t, func(r *rig) {
		for _, ends := range [][]func(*testing.T) (int, *peer){{local, tcpPair}, {tcpPair, local}} {
			x, data := newRelay(r, ends...), flood()[:2<<20]
			x.flow(data, always)
			if x.data != len(data) {
				r.Errorf("Data got %d of %d bytes", x.data, len(data))
			}
		}
	})
}

// A receiver that resets within a flood ends with an error, and its sender lives.
func TestLoopRelayReset(t *testing.T) {
	eachBackend(t, func(r *rig) {
		x, data := newRelay(r, tcpPair, tcpPair), flood()
		r.spin("a flood", func() bool {
			x.nearby.offer(data[:256<<10])
			x.faraw.read()
			return x.near.BytesIn() > 4<<20
		})
		x.faraw.reset()
		r.spin("the end", func() bool { x.nearby.offer(data[:256<<10]); return r.of(x.far).closed })
		if err := r.of(x.far).err; err == nil {
			r.Error("a reset ends the connection in order")
		}
		r.lives(x.near, "when the other was reset")
	})
}

// A sender that is reset while it is served: splice(2) takes the error from the socket, and
// what recv finds behind it looks like an end in order.
func TestLoopRelaySenderReset(t *testing.T) {
	eachBackend(t, func(r *rig) {
		x := newRelay(r, tcpPair, tcpPair)
		x.resetWhileServed(x.near, func() {
			for left := 1; left > 0; left = r.l.sys.unsent(x.nearby.fd) {
				for n := 1; n > 0; {
					n, _ = unix.Read(int(x.near.fd), r.l.rbuf)
				}
			}
			x.nearby.reset()
			arrives(r.T, int(x.near.fd), unix.POLLHUP)
		})
		if r.of(x.near).eof {
			r.Error("a reset is told as an end in order")
		}
	})
}

// A receiver that is reset while it is served ends with what splice(2) was told, and not with
// the EPIPE of a send behind it.
func TestLoopRelayReceiverReset(t *testing.T) {
	eachBackend(t, func(r *rig) {
		x := newRelay(r, tcpPair, tcpPair)
		x.resetWhileServed(x.far, func() {
			x.faraw.reset()
			arrives(r.T, int(x.far.fd), unix.POLLHUP)
		})
		r.lives(x.near, "when the other was reset")
	})
}

// resetWhileServed has reset called between the question for the receiver and splice(2), and
// waits for the end of c, which has to name the reset.
func (x *relayRig) resetWhileServed(c *Conn, reset func()) {
	x.Helper()
	x.onRelay = func(from *Conn) {
		if from == x.near {
			x.onRelay = nil
			reset()
		}
	}
	data := flood()[:256<<10]
	x.spin("the end", func() bool {
		if x.nearby.fd >= 0 {
			x.nearby.offer(data)
		}
		if x.faraw.fd >= 0 {
			x.faraw.read()
		}
		return x.rig.of(c).closed
	})
	if err := x.rig.of(c).err; !errors.Is(err, unix.ECONNRESET) {
		x.Errorf("Closed(%v), want %v", err, unix.ECONNRESET)
	}
}

// From the moment at which a connection is tapped, the tap sees every byte.
func TestLoopRelayTapped(t *testing.T) {
	eachBackend(t, func(r *rig) {
		x, data := newRelay(r, tcpPair, tcpPair), flood()
		var told []byte
		before := -1
		r.do(func() { r.l.SetTap(func(_ *Conn, p []byte) { told = append(told, p...) }) })
		x.flow(data, func(sent, got int) bool {
			if sent > len(data)/2 && before < 0 {
				r.do(func() { x.far.Tap(true); before = int(x.far.BytesOut()) + x.far.Queued() })
			}
			return true
		})
		if !bytes.Equal(told, data[before:]) {
			r.Errorf("the tap saw %d bytes, want %d", len(told), len(data)-before)
		}
	})
}

// Urgent data within a flood, at which splice(2) reports an end, is none: the rest arrives.
func TestLoopRelayUrgent(t *testing.T) {
	eachBackend(t, func(r *rig) {
		x, data := newRelay(r, tcpPair, tcpPair), flood()
		x.urgentAt = len(data) / 2
		x.flow(data, always)
		if x.urgentAt != 0 {
			r.Error("no urgent data was sent")
		}
	})
}

// A flood goes on in the next process: nothing is left in the pipe.
func TestLoopRelayRestart(t *testing.T) {
	eachBackend(t, func(r *rig) {
		x, data := newRelay(r, tcpPair, tcpPair), flood()
		carried := 0
		x.flow(data, func(sent, got int) bool {
			if carried < 3 && sent > (carried+1)*len(data)/4 {
				carried++
				back := r.restart(Config{}, x.near.opts, nil, x.near, x.far)
				x.near, x.far = back[0], back[1]
				x.other = map[*Conn]*Conn{x.near: x.far, x.far: x.near}
				r.do(func() { x.near.SetHandler(x.forwarder, nil); x.far.SetHandler(x.forwarder, nil) })
				if x.near.flags&flagPaused != 0 && !x.far.Full() {
					x.near.Resume()
				}
			}
			return true
		})
	})
}
