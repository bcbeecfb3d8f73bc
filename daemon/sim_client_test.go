// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/service"
	"penstock/daemon/internal/view"
)

// A simClient is the other end of a connection. It keeps what it has sent and got.
type simClient struct {
	id   uint64 // of its session
	fd   int
	kind *simKind
	peer string

	out  []byte    // said, and not taken by the kernel yet
	sent []byte    // taken by the kernel
	said []simSaid // messages, in order
	got  []byte

	shutting bool // shuts its side when all is sent
	shut     bool
	gone     bool // has left without waiting for anything
	broken   bool // cannot be written to any more
	eof      bool // has got to the end, by FIN or RST
	joined   int  // ticks or broadcasts that came before it
	shutAt   int  // ticks when it has shut its side

	taken   int      // messages that a program has got
	replies []string // that it is due from programs
}

// A simSaid is a message of a client.
type simSaid struct {
	text       string
	end        int // where it ends in what the client sends
	generation int // of the daemon when all was sent; -1: not yet
}

// A simKind is what clients of a service say and are due.
type simKind struct {
	name    string
	say     func(w *simWorld, c *simClient) string // the next message
	check   func(w *simWorld, c *simClient) error  // nil: all is as it must be at rest
	raw     bool                                   // its messages have no delimiter
	listens bool                                   // a client that has sent nothing stays when it shuts its side
	endless bool                                   // it may always have more to read, also at rest
}

// come has a client connect to any service.
func (w *simWorld) come() {
	kinds := []*simKind{simEcho, simLookup, simTicker, simRoom, simRoom, simRoom, simChargen, simHandler, simHandler}
	kind := kinds[w.rng.IntN(len(kinds))]
	if len(w.clients) < 40 && w.d.life.phase != handedOver && (kind != simHandler || w.program != nil) {
		w.connect(kind)
	}
}

// connect is what the daemon does for a client that it accepts. Nothing is left to the
// kernel, so that each client has an address of its own.
func (w *simWorld) connect(kind *simKind) *simClient {
	ours, theirs := w.pair()
	w.d.lastID++
	c := &simClient{id: w.d.lastID, fd: theirs, kind: kind}
	addr := netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(4000+c.id))
	c.peer = addr.String()
	ep := w.d.endpoints[kind.name]
	c.joined = w.ticks.seen
	if kind == simHandler {
		c.joined = w.program.broadcasts
	}
	w.tracef("client %d of %s", c.id, kind.name)
	w.clients = append(w.clients, c)
	since := w.d.loop.Now().Add(-askGrace) // so that it does not delay the end
	s := service.NewSession(c.id, view.Peer{Addr: addr}, since, &ep.owner)
	if _, err := w.d.loop.Add(ours, ep, s); err != nil {
		w.fail(err)
	}
	return c
}

// pair returns two ends of a connection.
func (w *simWorld) pair() (ours, theirs int) {
	if w.tcp < 0 || w.rng.IntN(2) == 0 {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			w.t.Fatal(err)
		}
		return fds[0], fds[1]
	}
	theirs, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		var at unix.Sockaddr
		if at, err = unix.Getsockname(w.tcp); err == nil {
			err = unix.Connect(theirs, at) // a listener on loopback answers at once
		}
	}
	if err == nil {
		ours, _, err = unix.Accept4(w.tcp, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return ours, theirs
}

func listenTCP(t testing.TB) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	if err == nil {
		err = unix.Listen(fd, 8)
	}
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// say has c want to send another message.
func (c *simClient) say(w *simWorld) {
	if c.shutting || c.kind.say == nil {
		return
	}
	text := c.kind.say(w, c)
	c.out = append(c.out, text...)
	c.said = append(c.said, simSaid{text, 0, -1})
	if !c.kind.raw {
		c.out = append(c.out, '\n')
	}
	c.said[len(c.said)-1].end = len(c.sent) + len(c.out)
}

// flood says much and sends as much of it as goes.
func (c *simClient) flood(w *simWorld) {
	for range 10 + w.rng.IntN(60) {
		c.say(w)
	}
	c.send(w, 1<<20)
}

// shutSoon has c shut its side when all is sent. The last message may lack its end.
func (c *simClient) shutSoon(w *simWorld) {
	if n := len(c.out); !c.shutting && n > 0 && !c.kind.raw && w.rng.IntN(2) == 0 {
		c.out = c.out[:n-1]
		c.said[len(c.said)-1].end--
	}
	c.shutting = true
	c.send(w, 0)
}

// leave closes the connection in the middle of whatever it does.
func (c *simClient) leave(w *simWorld) {
	w.tracef("client %d leaves", c.id)
	if w.rng.IntN(2) == 0 {
		c.read(w, 1<<20)
		if w.rng.IntN(2) == 0 {
			_ = unix.SetsockoptLinger(c.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		}
	}
	c.close()
}

func (c *simClient) close() {
	if !c.gone {
		unix.Close(c.fd)
	}
	c.gone, c.out = true, nil
}

// send writes at most so many bytes of what c wants to say.
func (c *simClient) send(w *simWorld, most int) (moved bool) {
	if c.gone || c.shut || c.broken {
		return false
	}
	if p := c.out[:min(most, len(c.out))]; len(p) > 0 {
		n, err := unix.SendmsgN(c.fd, p, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if err != nil {
			n = 0
		}
		if err != nil && err != unix.EAGAIN {
			w.tracef("client %d cannot send: %v", c.id, err)
			c.broken, c.out = true, nil
			return true
		}
		c.sent, c.out = append(c.sent, p[:n]...), c.out[n:]
		moved = n > 0
	}
	if c.shutting && len(c.out) == 0 {
		w.tracef("client %d shuts its side", c.id)
		_ = unix.Shutdown(c.fd, unix.SHUT_WR)
		c.shut, c.shutAt, moved = true, w.ticks.seen, true
	}
	for i := len(c.said) - 1; i >= 0 && c.said[i].generation < 0; i-- {
		if c.said[i].end <= len(c.sent) {
			c.said[i].generation = w.generation
		}
	}
	return moved
}

// read takes at most so many bytes.
func (c *simClient) read(w *simWorld, most int) (moved bool) {
	b := make([]byte, min(most, 1<<16))
	for most > 0 && !c.gone && !c.eof {
		n, _, err := unix.Recvfrom(c.fd, b[:min(most, len(b))], unix.MSG_DONTWAIT)
		switch {
		case err == unix.EAGAIN:
			return moved
		case err != nil, n == 0:
			w.tracef("client %d has the end: %v", c.id, err)
			c.eof = true
			_ = unix.Shutdown(c.fd, unix.SHUT_WR) // the daemon waits for that
			if err := c.mayEnd(w); err != nil {
				w.fail(fmt.Errorf("client %d of %s: %w", c.id, c.kind.name, err))
			}
			return true
		}
		c.got = append(c.got, b[:n]...)
		most -= n
		moved = true
	}
	return moved
}

// cut reports whether text is message i of a client that has left in the middle of it:
// the rest counts as a message (at_eof).
func (c *simClient) cut(i int, text string) bool {
	return c.gone && c.said[i].generation < 0 && strings.HasPrefix(c.said[i].text, text)
}

// ends reports whether the daemon has to end the connection.
func (c *simClient) ends() bool { return c.shut && (!c.kind.listens || len(c.sent) > 0) }

// mayEnd says why the end that has come is none that c is due.
func (c *simClient) mayEnd(w *simWorld) error {
	if c.ends() || w.ending || c.kind == simRoom { // whose members may be cut
		return nil
	}
	return errors.New("its connection has ended for no reason")
}

// allMoves writes and reads what it can.
func (c *simClient) allMoves(w *simWorld) bool {
	sent := c.send(w, 1<<20)
	return c.read(w, 1<<16) && !c.kind.endless || sent
}

// settled says what c still waits for, whatever its kind.
func (c *simClient) settled() error {
	switch {
	case len(c.out) > 0:
		return notYet("%d bytes cannot be sent", len(c.out))
	case c.ends() && !c.eof && c.kind != simChargen: // which is not read from while its queue is full
		return notYet("the end has not come")
	}
	return nil
}
