// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Restarts as a whole, on real sockets and over both back ends: all connections
// of a loop leave it together and come back in another one.

// restart carries conns over to a new loop, with options each, and returns the
// new ones. at is called after all are back, before Done.
func (r *rig) restart(cfg Config, o *Options, at func([]*Conn), conns ...*Conn) (back []*Conn) {
	r.Helper()
	var carried []Carried
	var messages []byte
	r.do(func() { carried, messages = r.l.DetachAll(conns) })
	for i, c := range conns {
		if carried[i].Err != nil {
			r.Fatal(carried[i].Err)
		}
		if h := r.of(c); !h.closed || h.err != ErrDetached {
			r.Fatalf("closed %t with %v after DetachAll, want %v", h.closed, h.err, ErrDetached)
		}
	}
	r.use(cfg)
	re, err := r.l.NewRestore(messages)
	if err != nil {
		r.Fatal(err)
	}
	for i, k := range carried {
		old := r.of(conns[i])
		c, err := re.Conn(k.FD, r.probe, k.State, o, k.Record)
		if err != nil {
			r.Fatal(err)
		}
		r.of(c).eof, r.of(c).got = old.eof, old.got
		back = append(back, c)
	}
	if at != nil {
		at(back)
	}
	re.Done()
	return back
}

func TestLoopRestartShares(t *testing.T) { eachBackend(t, restartShares) }

// A message of many queues is carried once and shared again, in its place
// between others, and takes no more of the memory bound than before.
func restartShares(r *rig) {
	const members = 50
	o := &Options{Queue: 1 << 20}
	var conns []*Conn
	var peers []*peer
	want := make([][]byte, members)
	for i := range members {
		c, p := r.unix()
		conns, peers = append(conns, c), append(peers, p)
		want[i] = append(r.clog(c), r.stick(c)...)
		c.SetOptions(o)
	}
	line, long := NewMessage([]byte("to all\n")), NewMessage(bytes.Repeat([]byte("long "), 20_000))
	r.do(func() {
		for i, c := range conns {
			for _, m := range []*Message{line, long, line} {
				own := fmt.Appendf(nil, "to %d\n", i)
				if !c.Write(own) || !c.Send(m) {
					r.Fatal("no room")
				}
				want[i] = append(append(want[i], own...), m.Bytes()...)
			}
		}
	})
	before := r.l.Stats().Queued
	conns = r.restart(Config{Memory: before}, o, func([]*Conn) {
		if now := r.l.Stats().Queued; now > before {
			r.Errorf("%d bytes are queued, %d before the restart", now, before)
		}
	}, conns...)
	for i, p := range peers {
		r.gets(p, want[i])
		if h := r.of(conns[i]); h.closed {
			r.Errorf("%d was closed: %v", i, h.err)
		}
	}
}

func TestLoopRestartMemory(t *testing.T) { eachBackend(t, restartMemory) }

// Nobody pays for a lower memory bound before all are back, and somebody does
// then. Closed does not come inside Done.
func restartMemory(r *rig) {
	var conns []*Conn
	for range 5 {
		c, _ := r.unix()
		r.stick(c)
		conns = append(conns, c)
	}
	before := r.l.Stats().Queued
	conns = r.restart(Config{Memory: before / 2}, &Options{Queue: 1 << 20, Overflow: Disconnect}, func(cs []*Conn) {
		cs[0].Write([]byte("more"))
		if now := r.l.Stats().Queued; now < before {
			r.Errorf("%d bytes are queued before Done, want at least %d", now, before)
		}
	}, conns...)
	if now := r.l.Stats().Queued; now > before/2 {
		r.Errorf("%d bytes are queued after Done over a bound of %d", now, before/2)
	}
	ended := func() (n int) {
		for _, c := range conns {
			if r.of(c).closed && r.of(c).err == ErrMemory {
				n++
			}
		}
		return n
	}
	if n := ended(); n > 0 {
		r.Errorf("%d were closed inside Done", n)
	}
	r.turn()
	if n := ended(); n == 0 || n == len(conns) {
		r.Errorf("%d of %d pay for half of the memory", n, len(conns))
	}
}

func TestLoopRestartBegun(t *testing.T) { eachBackend(t, restartBegun) }

// A message that has begun goes on at its byte, whatever the policy drops
// behind it.
func restartBegun(r *rig) {
	c, p := r.unix()
	unix.SetsockoptInt(c.FD(), unix.SOL_SOCKET, unix.SO_SNDBUF, 4096)
	o := &Options{Queue: 300 << 10, Overflow: DropOldest}
	c.SetOptions(o)
	begun := bytes.Repeat([]byte("begun "), 40_000)
	r.do(func() { c.Send(NewMessage(begun)) })
	r.turn()
	if c.BytesOut() == 0 || c.Queued() == 0 {
		r.Fatalf("%d bytes are sent and %d queued; the test needs both", c.BytesOut(), c.Queued())
	}
	c = r.restart(Config{}, o, nil, c)[0]
	last := bytes.Repeat([]byte("last "), 10_000)
	r.do(func() {
		for range 10 {
			c.Write(last)
		}
	})
	r.spin("the drops to be told", func() bool { return r.of(c).messages > 0 })
	kept := 10 - r.of(c).messages
	r.gets(p, append(begun, bytes.Repeat(last, kept)...))
}

func TestLoopRestartLingers(t *testing.T) { eachBackend(t, restartLingers) }

// A connection that has sent its FIN waits for that of the peer, in the next
// loop for the rest of its time, and ends with its own reason.
func restartLingers(r *rig) {
	reason := errors.New("told to leave")
	for _, shuts := range []bool{true, false} {
		c, p := r.tcp()
		p.write("unread")
		r.do(func() { c.Write([]byte("bye")); c.CloseAfterFlush(time.Hour, reason) })
		r.spin("FIN", func() bool { return c.state == stateLingering })
		r.later(lingerTime / 2)
		p.write("and more")
		c = r.restart(Config{}, nil, nil, c)[0]
		if c.state != stateLingering || r.of(c).closed {
			r.Fatalf("in state %d (closed %t), want lingering", c.state, r.of(c).closed)
		}
		if left := c.until.Sub(r.l.clock); left > lingerTime/2+lingerTime/10 {
			r.Errorf("lingers for another %v, want at most half of %v", left, lingerTime)
		}
		r.turn()
		r.turn()
		if shuts {
			p.shut()
		} else {
			r.later(lingerTime)
			r.turn()
		}
		r.until("Closed", func() bool { return r.of(c).closed })
		if err := r.of(c).err; err == nil || err.Error() != reason.Error() {
			r.Errorf("closed with %v, want %v", err, reason)
		}
		if got, err := p.receive(); string(got) != "bye" || shuts && err != io.EOF {
			r.Errorf("the peer got %q and %v", got, err)
		}
	}
}

func TestLoopRestartFlushes(t *testing.T) { eachBackend(t, restartFlushes) }

// A flush goes on: all that was queued, then FIN, then the reason.
func restartFlushes(r *rig) {
	c, p := r.unix()
	written := r.stick(c)
	r.do(func() { c.CloseAfterFlush(time.Hour, ErrIdle) })
	c = r.restart(Config{}, nil, nil, c)[0]
	if !c.Closing() || c.Write([]byte("more")) {
		r.Error("takes output although its end had begun")
	}
	r.gets(p, written)
	p.shut()
	r.ends(c, ErrIdle)
}

func TestLoopRestartFull(t *testing.T) { eachBackend(t, restartFull) }

// A queue that was full is full, and Drained comes when the peer that was stuck
// reads. Under Pause it is not read from meanwhile.
func restartFull(r *rig) {
	c, p := r.unix()
	written := r.stick(c)
	o := &Options{Queue: c.Queued()}
	c.SetOptions(o)
	r.turn()
	p.write("held back")
	c = r.restart(Config{}, o, func(cs []*Conn) {
		if !cs[0].Full() {
			r.Error("not full")
		}
	}, c)[0]
	r.turn()
	if h := r.of(c); len(h.got) > 0 || h.drained > 0 {
		r.Errorf("Data(%q), %d times Drained; want nothing", h.got, h.drained)
	}
	r.gets(p, written)
	r.until("Drained and Data", func() bool { return r.of(c).drained == 1 && string(r.of(c).got) == "held back" })
}

func TestLoopRestartPaused(t *testing.T) { eachBackend(t, restartPaused) }

// A pause goes on, and so does what was kept and what came in the meantime.
func restartPaused(r *rig) {
	c, p := r.unix()
	r.onData = func(c *Conn, b []byte) int { return bytes.LastIndexByte(b, '\n') + 1 }
	p.write("whole\npart")
	r.until("a part", func() bool { return string(c.Input()) == "part" })
	c.Pause()
	p.write("ial\n")
	r.turn()
	r.turn()
	c = r.restart(Config{}, nil, nil, c)[0]
	p.write("later\n")
	p.shut()
	r.turn()
	r.turn()
	if h := r.of(c); string(h.got) != "whole\n" || h.eof {
		r.Fatalf("Data(%q), EOF %t while paused", h.got, h.eof)
	}
	c.Resume()
	r.until("EOF", func() bool { return r.of(c).eof })
	if got := string(r.of(c).got); got != "whole\npartial\nlater\n" || c.BytesIn() != uint64(len(got)) {
		r.Errorf("Data(%q), BytesIn %d", got, c.BytesIn())
	}
}

func TestLoopRestartHalfClosed(t *testing.T) { eachBackend(t, restartHalfClosed) }

// EOF was told, and is not told again; output still flows, and the end of the
// peer is seen.
func restartHalfClosed(r *rig) {
	c, p := r.tcp()
	p.write("question")
	p.shut()
	r.until("EOF", func() bool { return r.of(c).eof })
	c = r.restart(Config{}, nil, nil, c)[0]
	r.do(func() { c.Write([]byte("answer")) })
	r.gets(p, []byte("answer"))
	p.reset()
	r.until("Closed", func() bool { return r.of(c).closed })
}

func TestLoopRestartMuchInput(t *testing.T) { eachBackend(t, restartMuchInput) }

// Input that is larger than one read is carried whole, and each byte of it once.
func restartMuchInput(r *rig) {
	c, p := r.unix()
	r.turn()
	p.write("light\n")
	r.until("input", func() bool { return c.BytesIn() > 0 })
	c.Pause()
	unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4<<20)
	sent := bytes.Repeat([]byte("0123456789"), 60_000)
	sent = sent[:p.offer(sent)]
	if len(sent) <= readSize {
		r.Fatalf("the socket takes %d bytes, want more than one read", len(sent))
	}
	c = r.restart(Config{}, nil, nil, c)[0]
	c.Resume()
	all := append([]byte("light\n"), sent...)
	r.until("all of it", func() bool { return len(r.of(c).got) >= len(all) })
	if !bytes.Equal(r.of(c).got, all) {
		r.Errorf("got %d bytes, want %d; they agree on the first %d", len(r.of(c).got), len(all), commonPrefix(r.of(c).got, all))
	}
}

func TestLoopRestartBroken(t *testing.T) { eachBackend(t, restartBroken) }

// Output has failed, and input that came before is still to be shown: that comes
// first, then the reason.
func restartBroken(r *rig) {
	c, p := r.unix()
	r.turn()
	c.Pause()
	p.write("before")
	unix.Shutdown(p.fd, unix.SHUT_RD)
	r.do(func() { c.Write([]byte("nobody reads this")) })
	r.spin("broken output", func() bool { return c.flags&flagBroken != 0 })
	c = r.restart(Config{}, nil, nil, c)[0]
	r.turn()
	c.Resume()
	r.ends(c, unix.EPIPE)
	if got := string(r.of(c).got); got != "before" {
		r.Errorf("Data(%q) before the end, want %q", got, "before")
	}
}

func TestLoopRestartQuiet(t *testing.T) { eachBackend(t, restartQuiet) }

// Before Done nothing is sent and nobody told, although handlers write and the
// kernel has news.
func restartQuiet(r *rig) {
	c, p := r.unix()
	p.write("news")
	conns := []*Conn{c}
	carried, messages := r.l.DetachAll(conns)
	r.turn()
	r.use(Config{})
	re, err := r.l.NewRestore(messages)
	if err != nil {
		r.Fatal(err)
	}
	big := bytes.Repeat([]byte("greeting "), 20_000) // more than is gathered
	r.onOpen = func(c *Conn) {
		c.SetOptions(&Options{Queue: 1 << 10})
		c.Write(big[:10])
		c.Write(big[10:])
	}
	back, err := re.Conn(carried[0].FD, r.probe, nil, nil, carried[0].Record)
	if err != nil {
		r.Fatal(err)
	}
	if got := p.read(); len(got) > 0 {
		r.Errorf("the peer got %d bytes before Done", len(got))
	}
	re.Done()
	re.Done()
	if h := r.of(back); len(h.got) > 0 || len(p.read()) > 0 {
		r.Errorf("Data(%q) or output inside Done", h.got)
	}
	r.gets(p, big)
	r.until("news", func() bool { return string(r.of(back).got) == "news" })
}

func TestLoopRestartMany(t *testing.T) { eachBackend(t, restartMany) }

// Two thousand clients have each a question under way, and all are answered,
// over two restarts.
func restartMany(r *rig) {
	clients := 2000
	if testing.Short() {
		clients = 200
	}
	r.onData = func(c *Conn, b []byte) int {
		n := bytes.LastIndexByte(b, '\n') + 1
		c.WriteStatic(b[:n])
		return n
	}
	var conns []*Conn
	var peers []*peer
	for range clients {
		c, p := r.unix()
		conns, peers = append(conns, c), append(peers, p)
	}
	for round := range 2 {
		for i, p := range peers {
			p.write(fmt.Sprintf("question %d", i))
		}
		r.turn() // some are read, some are not
		conns = r.restart(Config{}, nil, nil, conns...)
		for _, p := range peers {
			p.write(fmt.Sprintf(" of %d\n", round))
		}
		for i, p := range peers {
			r.gets(p, fmt.Appendf(nil, "question %d of %d\n", i, round))
		}
	}
}
