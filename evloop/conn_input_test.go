// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A peer that sends once and waits is not forgotten.
func TestLoopSendsOnceAndWaits(t *testing.T) { eachBackend(t, sendsOnceAndWaits) }

// Edge-triggered, the kernel says once that bytes came. What exceeds the
// budget of a turn has to be remembered by the loop.
func sendsOnceAndWaits(r *rig) {
	for _, budget := range []int{1, 1000, readSize, 0} {
		r.use(Config{ReadBudget: budget})
		c, p := r.unix()
		sent := bytes.Repeat([]byte("0123456789"), 3000)
		if budget != 1 {
			sent = bytes.Repeat(sent, 5)
		}
		n := p.offer(sent)
		r.until("all that was sent", func() bool { return len(r.of(c).got) >= n })
		if !bytes.Equal(r.of(c).got, sent[:n]) {
			r.Errorf("budget %d: got %d bytes, want %d; they agree on the first %d", budget,
				len(r.of(c).got), n, commonPrefix(r.of(c).got, sent[:n]))
		}
	}
}

// A flood leaves the latency of others bounded.
func TestLoopFloodIsBounded(t *testing.T) { eachBackend(t, floodIsBounded) }

// floodIsBounded counts turns and not time. A client that asks is answered in the next
// turn, and no turn reads more than the budget from the flooder.
func floodIsBounded(r *rig) {
	const budget = 8 << 10
	r.use(Config{ReadBudget: budget})
	flood, flooder := r.tcp()
	other, asker := r.tcp()
	r.onData = func(c *Conn, p []byte) int {
		if c == other {
			c.Write(p)
		}
		return len(p)
	}
	junk := bytes.Repeat([]byte("junk"), 64<<10)
	for range 200 {
		flooder.offer(junk)
		arrives(r.T, flood.FD(), unix.POLLIN)
		asker.write("?")
		arrives(r.T, other.FD(), unix.POLLIN)
		before := flood.BytesIn()
		r.turn()
		if got := string(asker.read()); got != "?" {
			r.Fatalf("got %q after one turn under a flood, want the answer", got)
		}
		if n := flood.BytesIn() - before; n > budget {
			r.Fatalf("read %d bytes from one connection in a turn, want at most %d", n, budget)
		}
	}
}

// An edge that comes during Data is not lost.
func TestLoopEdgeDuringData(t *testing.T) { eachBackend(t, edgeDuringData) }

// edgeDuringData plays a peer that answers at once: its next message arrives while
// Data still runs, after a read that brought less than it could.
func edgeDuringData(r *rig) {
	c, p := r.tcp()
	left := 100
	r.onData = func(c *Conn, b []byte) int {
		if left > 0 {
			left--
			p.write("x")
			arrives(r.T, c.FD(), unix.POLLIN)
		}
		return len(b)
	}
	p.write("x")
	r.until("all messages", func() bool { return len(r.of(c).got) == 101 })
}

// What is not consumed is shown again in front of more.
func TestLoopKeptInput(t *testing.T) { eachBackend(t, keptInput) }

func keptInput(r *rig) {
	c, p := r.tcp()
	var seen []string
	r.onData = func(c *Conn, b []byte) int {
		seen = append(seen, string(b))
		return bytes.LastIndexByte(b, '\n') + 1
	}
	for _, s := range []string{"one\ntw", "o", "\nthree\nfo", "ur\n"} {
		p.write(s)
		calls := r.of(c).calls
		r.until("Data", func() bool { return r.of(c).calls > calls })
		if want := s[strings.LastIndexByte(s, '\n')+1:]; !strings.HasSuffix(string(c.Input()), want) {
			r.Errorf("Input() = %q, want it to end in %q", c.Input(), want)
		}
	}
	if got, want := strings.Join(seen, "|"), "one\ntw|two|two\nthree\nfo|four\n"; got != want {
		r.Errorf("Data saw %q, want %q", got, want)
	}
	if c.Input() != nil || r.l.Stats().Queued != 0 {
		r.Errorf("kept %d bytes, %d charged, after everything was consumed", len(c.Input()), r.l.Stats().Queued)
	}
}

// Too much unconsumed input ends the connection.
func TestLoopInputFull(t *testing.T) { eachBackend(t, inputFull) }

func inputFull(r *rig) {
	r.onData = func(*Conn, []byte) int { return 0 }
	for _, size := range []int{100, DefaultMaxInput} {
		c, p := r.unix()
		if size != DefaultMaxInput {
			c.SetOptions(&Options{MaxInput: size})
		}
		p.write(strings.Repeat("x", size))
		r.until("a full input", func() bool { return len(c.Input()) == size })
		p.write("y")
		r.ends(c, ErrInputFull)
	}
}

// A paused connection may keep more than MaxInput.
func TestLoopInputFullPaused(t *testing.T) { eachBackend(t, inputFullPaused) }

// While paused a handler cannot consume: what one read brought is kept even
// beyond MaxInput, and the bound counts once it may consume again.
func inputFullPaused(r *rig) {
	c, p := r.unix()
	c.SetOptions(&Options{MaxInput: 100})
	r.onData = func(c *Conn, b []byte) int {
		c.Pause()
		return 0
	}
	p.write(strings.Repeat("x", 2000)) // one read, with any back end
	r.until("Data", func() bool { return r.of(c).calls == 1 })
	if len(c.Input()) != 2000 {
		r.Fatalf("kept %d bytes, want 2000", len(c.Input()))
	}
	r.onData = func(c *Conn, b []byte) int { return 1950 }
	r.do(c.Resume)
	r.until("the rest", func() bool { return r.of(c).calls == 2 })
	if len(c.Input()) != 50 || r.of(c).closed {
		r.Errorf("kept %d bytes, closed %t; want 50 of an open connection", len(c.Input()), r.of(c).closed)
	}
}

// Resume shows kept input in a later turn.
func TestLoopResumeShowsKept(t *testing.T) { eachBackend(t, resumeShowsKept) }

func resumeShowsKept(r *rig) {
	c, p := r.tcp()
	r.onData = func(c *Conn, b []byte) int {
		c.Pause()
		return 0
	}
	p.write("kept")
	r.until("Data", func() bool { return r.of(c).calls == 1 })
	r.onData = nil
	r.do(func() {
		c.Resume()
		c.Resume() // once more does nothing
		if r.of(c).calls != 1 {
			r.Error("Data inside Resume")
		}
	})
	r.until("kept input", func() bool { return string(r.of(c).got) == "kept" })
}

// Neither Data nor EOF comes while paused; both come afterwards, in order.
func TestLoopPauseHoldsBack(t *testing.T) { eachBackend(t, pauseHoldsBack) }

func pauseHoldsBack(r *rig) {
	c, p := r.tcp()
	r.onEOF = func(c *Conn) {
		if string(r.of(c).got) != "late" {
			r.Errorf("EOF after %q, want it after the bytes", r.of(c).got)
		}
		c.CloseAfterFlush(0, nil)
	}
	c.Pause()
	p.write("late")
	p.shut()
	arrives(r.T, c.FD(), unix.POLLRDHUP)
	for range 3 {
		r.turn()
	}
	if h := r.of(c); h.calls != 0 || h.eof {
		r.Fatalf("%d calls of Data, EOF %t, while paused", h.calls, h.eof)
	}
	r.do(c.Resume)
	r.ends(c, nil)
	if !r.of(c).eof {
		r.Error("no EOF after Resume")
	}
}

// Pause inside Data leaves the rest in the socket.
func TestLoopPauseInsideData(t *testing.T) { eachBackend(t, pauseInsideData) }

func pauseInsideData(r *rig) {
	r.use(Config{ReadBudget: 1 << 20})
	c, p := r.unix()
	r.onData = func(c *Conn, b []byte) int {
		c.Pause()
		return len(b)
	}
	sent := bytes.Repeat([]byte("0123456789"), 15_000) // more than one read brings
	n := p.offer(sent)
	r.until("Data", func() bool { return r.of(c).calls == 1 })
	for range 3 {
		r.turn()
	}
	if got := r.of(c).calls; got != 1 {
		r.Errorf("%d calls of Data, want 1 until Resume", got)
	}
	for len(r.of(c).got) < n {
		before := len(r.of(c).got)
		r.do(c.Resume)
		r.until("more", func() bool { return len(r.of(c).got) > before })
	}
	if !bytes.Equal(r.of(c).got, sent[:n]) {
		r.Error("bytes differ")
	}
}

// Pause and Resume inside Data go on.
func TestLoopPauseResumeInside(t *testing.T) { eachBackend(t, pauseResumeInside) }

func pauseResumeInside(r *rig) {
	c, p := r.tcp()
	r.onData = func(c *Conn, b []byte) int {
		c.Pause()
		c.Resume()
		return 1
	}
	p.write("abc")
	r.until("the first byte", func() bool { return len(r.of(c).got) == 1 })
	p.write("d")
	r.until("all four, each by a Resume of its own", func() bool { return len(r.of(c).got) == 4 })
	if got := string(r.of(c).got); got != "abcd" {
		r.Errorf("consumed %q, want abcd", got)
	}
}

// A full queue stops reading, a drained one shows the rest.
func TestLoopFullStopsReading(t *testing.T) { eachBackend(t, fullStopsReading) }

// A handler that answers many questions of one Data call stops at a full
// queue; nothing is read meanwhile, and no question is lost or asked twice.
func fullStopsReading(r *rig) {
	c, p := r.unix()
	unix.SetsockoptInt(c.FD(), unix.SOL_SOCKET, unix.SO_SNDBUF, 4096)
	c.SetOptions(&Options{Queue: 8 << 10})
	r.onData = func(c *Conn, b []byte) (n int) {
		for n < len(b) && !c.Full() {
			c.Write(bytes.Repeat(b[n:n+1], 100)) // each byte is a question
			n++
		}
		return n
	}
	asked := strings.Repeat("abcdefghij", 500)
	p.write(asked)
	r.spin("a full queue", c.Full)
	for range 5 {
		r.turn()
	}
	if got := c.Queued(); got > 8<<10+100 {
		r.Errorf("%d bytes queued, want at most the mark and one answer more", got)
	}
	if len(r.of(c).got) == len(asked) {
		r.Fatal("everything was answered; the test needs a full queue")
	}
	want := make([]byte, 0, 100*len(asked))
	for i := range asked {
		want = append(want, bytes.Repeat([]byte{asked[i]}, 100)...)
	}
	r.gets(p, want)
	if r.of(c).drained == 0 {
		r.Error("Drained was not called")
	}
}

// EOF leaves kept input to be looked at.
func TestLoopEofLeavesInput(t *testing.T) { eachBackend(t, eofLeavesInput) }

func eofLeavesInput(r *rig) {
	c, p := r.tcp()
	r.onData = func(*Conn, []byte) int { return 0 }
	var last string
	r.onEOF = func(c *Conn) {
		last = string(c.Input())
		c.WriteStatic(c.Input())
		c.CloseAfterFlush(patience, nil)
	}
	p.write("no newline")
	p.shut()
	r.ends(c, nil)
	if last != "no newline" {
		r.Errorf("Input() at EOF = %q", last)
	}
	if got := string(p.read()); got != "no newline" {
		r.Errorf("peer got %q", got)
	}
}

// Consuming more than there is panics.
func TestLoopConsumesTooMuch(t *testing.T) { eachBackend(t, consumesTooMuch) }

func consumesTooMuch(r *rig) {
	for _, n := range []int{-1, 2} {
		c, p := r.unix()
		r.onData = func(*Conn, []byte) int { return n }
		p.write("x")
		func() {
			defer func() {
				if recover() == nil {
					r.Errorf("Data returned %d of 1 and nobody panicked", n)
				}
			}()
			r.turn()
		}()
		r.inside, r.l.depth = false, 0 // a program would have ended here
		c.Abort(errors.New("test"))
		r.do(func() {})
	}
}

// The read buffer holds the longest kept input and a full read behind it.
func TestReadBufferSize(t *testing.T) {
	l := openLoop(t)
	if got, want := len(l.rbuf), DefaultMaxInput+readSize; got != want {
		t.Errorf("read buffer of %d bytes, want %d", got, want)
	}
}

// Yield shows the rest again after the others had their turn.
func TestLoopYieldGoesOn(t *testing.T) { eachBackend(t, yieldGoesOn) }

// A handler to which each byte means much work takes one a turn. The rest is
// shown again although no further byte comes, is not held against MaxInput,
// and EOF waits until it is consumed; a second connection is served between.
func yieldGoesOn(r *rig) {
	r.use(Config{})
	c, p := r.unix()
	other, asker := r.unix()
	c.SetOptions(&Options{MaxInput: 2})
	var order []byte
	r.onData = func(d *Conn, p []byte) int {
		if d == other {
			order = append(order, '|')
			return len(p)
		}
		order = append(order, p[0])
		d.Yield()
		return 1
	}
	p.write("abcde")
	p.shut()
	r.turn()
	asker.write("x")
	r.until("the end of the input", func() bool { return r.of(c).eof })
	if got, want := string(order), "a|bcde"; got != want {
		r.Errorf("handlers were called in the order %q, want %q", got, want)
	}
}

// Another handler gets what is kept, what comes, and the end; the first one gets nothing
// more.
func TestLoopSetHandler(t *testing.T) { eachBackend(t, setHandler) }

func setHandler(r *rig) {
	c, p := r.unix()
	r.onData = func(*Conn, []byte) int { return len("for the first") }
	p.write("for the first, for the other")
	r.until("the first has its part", func() bool { return len(r.of(c).got) > 0 })
	other := newProbe(r.T)
	other.of(c).opened = true
	r.do(func() {
		c.SetHandler(other, "another")
		c.Write([]byte("hello"))
	})
	r.gets(p, []byte("hello"))
	p.write(", more")
	r.until("the rest", func() bool { return string(other.of(c).got) == ", for the other, more" })
	p.close()
	r.until("the end", func() bool { return other.of(c).eof })
	r.do(func() { c.Abort(nil) })
	r.until("Closed", func() bool { return other.of(c).closed })
	if h := r.of(c); string(h.got) != "for the first" || h.eof || h.closed || c.State != "another" {
		r.Errorf("the first handler was told %+v, State is %v", h, c.State)
	}
	r.of(c).closed = true // the rig looks for it
}
