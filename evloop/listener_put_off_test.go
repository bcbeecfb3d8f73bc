// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// A gate is an acceptor with some places, which puts off clients that find none.
type gate struct {
	r       *rig
	places  int
	taken   int // places of the clients that were let in; Closed gives them back
	refused int
	asked   int
}

func (g *gate) Accept(ln *Listener, _ int, _ netip.AddrPort) (Handler, any) {
	g.asked++
	switch {
	case g.taken < g.places:
		g.taken++
		return g.r.probe, nil
	case !ln.PutOff():
		g.refused++
	}
	return nil, nil
}

func (g *gate) Failed(_ *Listener, err error) { g.r.Error(err) }

// gate opens one on a Unix or TCP listener, whose clients have their questions
// sent back and are let go when they have no more.
func (r *rig) gate(places int, fd int) (*Listener, *gate) {
	r.Helper()
	g := &gate{r: r, places: places}
	r.onData = func(c *Conn, p []byte) int { c.Write(p); return len(p) }
	r.onEOF = func(c *Conn) { c.CloseAfterFlush(0, nil) }
	r.onClosed = func(*Conn, error) { g.taken-- }
	ln, err := r.l.Listen(fd, g)
	if err != nil {
		r.Fatal(err)
	}
	return ln, g
}

// A client that is put off takes the place of one that is gone.
func TestLoopAcceptPutOff(t *testing.T) { eachBackend(t, acceptPutOff) }

// acceptPutOff: two places, ten clients that asked and left while nobody
// looked, and one that waits. Nobody is refused.
func acceptPutOff(r *rig) {
	for _, fd := range []int{tcpListener(r.T, 16), unixListener(r.T, 16)} {
		ln, g := r.gate(2, fd)
		for range 10 {
			p := dial(r.T, ln.FD())
			p.write("question")
			p.close()
		}
		p := dial(r.T, ln.FD())
		p.write("here")
		r.gets(p, []byte("here"))
		if g.refused != 0 {
			r.Errorf("%d clients refused", g.refused)
		}
		p.close()
		r.connected(0)
	}
}

// A client that is put off is refused in the end if all the others stay.
func TestLoopAcceptPutOffInVain(t *testing.T) { eachBackend(t, acceptPutOffInVain) }

// acceptPutOffInVain: the places are taken by clients that are there. Each of
// the others is refused, after a number of turns that has a bound, and most of
// them at once.
func acceptPutOffInVain(r *rig) {
	const clients = 40
	ln, g := r.gate(2, unixListener(r.T, 2+clients))
	dial(r.T, ln.FD())
	dial(r.T, ln.FD())
	r.connected(2)
	before := r.l.Stats().Turns
	for range clients {
		dial(r.T, ln.FD())
	}
	r.spin("refusals", func() bool { return g.refused == clients })
	if turns := r.l.Stats().Turns - before; turns > 20 {
		r.Errorf("%d turns for %d refusals", turns, clients)
	}
}

// A client that is put off goes with the listener.
func TestLoopAcceptPutOffClosed(t *testing.T) { eachBackend(t, acceptPutOffClosed) }

func acceptPutOffClosed(r *rig) {
	ln, g := r.gate(0, unixListener(r.T, 4))
	p := dial(r.T, ln.FD())
	r.spin("the question", func() bool { return g.asked == 1 })
	r.do(func() { ln.Close() })
	arrives(r.T, p.fd, unix.POLLIN)
	if got := p.read(); len(got) > 0 || g.refused != 0 {
		r.Errorf("peer got %q, %d refused by the acceptor", got, g.refused)
	}
}

// A client that was put off goes on at a listener of another loop.
func TestLoopAcceptPutOffCarried(t *testing.T) { eachBackend(t, acceptPutOffCarried) }

// acceptPutOffCarried: the next acceptor has a place for the client, which loses nothing
// of what it has said. The first has forgotten it.
func acceptPutOffCarried(r *rig) {
	ln, g := r.gate(0, unixListener(r.T, 4))
	p := dial(r.T, ln.FD())
	p.write("question")
	r.spin("the question", func() bool { return g.asked == 1 })
	fd, _, ok := ln.TakePutOff()
	if !ok {
		r.Fatal("nobody was put off")
	}
	if _, _, again := ln.TakePutOff(); again {
		r.Error("the client was given away twice")
	}
	r.do(func() { ln.Close() })
	next, _ := r.gate(1, unixListener(r.T, 4))
	if !next.Offer(fd, netip.AddrPort{}) || next.Offer(fd, netip.AddrPort{}) {
		r.Error("Offer must take one client, and no second before that was asked about")
	}
	r.gets(p, []byte("question"))
}
