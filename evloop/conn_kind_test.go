// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// pipe returns the two ends; ours is what Add takes.
func (r *rig) pipe() (read, write int) {
	r.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		r.Fatal(err)
	}
	return fds[0], fds[1]
}

// terminal returns the master of a pseudo-terminal, as the loop's, and its
// slave. Both sides are raw unless canonical is set.
func (r *rig) terminal(canonical bool) (*Conn, *peer) {
	r.Helper()
	master, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		r.Skipf("no pseudo-terminals here: %v", err)
	}
	n, err := unix.IoctlGetInt(master, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		unix.Close(master)
		r.Fatal(err)
	}
	slave, err := unix.Open(fmt.Sprintf("/dev/pts/%d", n), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		unix.Close(master)
		r.Skipf("no pseudo-terminals here: %v", err)
	}
	tio, err := unix.IoctlGetTermios(slave, unix.TCGETS)
	if err != nil {
		r.Fatal(err)
	}
	tio.Lflag &^= unix.ECHO
	tio.Oflag &^= unix.OPOST
	if !canonical {
		tio.Lflag &^= unix.ICANON | unix.ISIG
		tio.Iflag &^= unix.ICRNL | unix.IXON
	}
	if err := unix.IoctlSetTermios(slave, unix.TCSETS, tio); err != nil {
		r.Fatal(err)
	}
	return r.add(master), newPeer(r.T, slave)
}

// Every kind of descriptor carries bytes in each direction that it has.
func TestLoopKindsCarry(t *testing.T) { eachBackend(t, kindsCarry) }

func kindsCarry(r *rig) {
	r.onData = func(c *Conn, b []byte) int { c.WriteStatic(b); return len(b) }
	for name, pair := range map[string]func() (*Conn, *peer){
		"TCP": r.tcp, "Unix stream": r.unix, "seqpacket": r.seqpacket,
		"terminal": func() (*Conn, *peer) { return r.terminal(false) },
		"terminal of our own": func() (*Conn, *peer) {
			c, p := r.terminal(false)
			c.own()
			return c, p
		},
	} {
		c, p := pair() // no subtest: its goroutine would be another than the loop's
		for i := range 3 {
			m := fmt.Sprintf("%s %d\n", name, i)
			p.write(m)
			r.gets(p, []byte(m))
		}
		r.do(func() { c.Abort(nil) })
	}
}

// A read end delivers everything before the end.
func TestLoopPipeReadEnd(t *testing.T) { eachBackend(t, pipeReadEnd) }

func pipeReadEnd(r *rig) {
	for _, size := range []int{1, readSize, 300_000} {
		read, write := r.pipe()
		c := r.add(read)
		p := newPeer(r.T, write)
		r.do(func() {
			if c.Write([]byte("x")) {
				r.Error("a read end took a message")
			}
		})
		sent := bytes.Repeat([]byte("p"), size)
		for left := sent; len(left) > 0; {
			left = left[p.offer(left):]
			r.turn()
		}
		p.close()
		r.ends(c, nil)
		if h := r.of(c); !h.eof || !bytes.Equal(h.got, sent) {
			r.Errorf("%d bytes and EOF %t, want all %d", len(h.got), h.eof, size)
		}
	}
}

// A FIFO without writers waits for the first.
func TestLoopFifoWaits(t *testing.T) { eachBackend(t, fifoWaits) }

// read(2) returns 0 on a FIFO that nobody has opened for writing, too.
func fifoWaits(r *rig) {
	path := filepath.Join(r.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		r.Fatal(err)
	}
	read, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		r.Fatal(err)
	}
	c := r.add(read)
	c.Pause()
	r.do(c.Resume)
	r.turn()
	if r.of(c).eof {
		r.Fatal("EOF before the first writer")
	}
	write, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		r.Fatal(err)
	}
	p := newPeer(r.T, write)
	p.write("sensor")
	r.until("Data", func() bool { return string(r.of(c).got) == "sensor" })
	p.close()
	r.ends(c, nil)
}

// A write end drains, and closes behind its last byte.
func TestLoopPipeWriteEnd(t *testing.T) { eachBackend(t, pipeWriteEnd) }

func pipeWriteEnd(r *rig) {
	read, write := r.pipe()
	c := r.add(write)
	c.SetOptions(&Options{Queue: 1 << 20})
	p := newPeer(r.T, read)
	var want []byte
	r.do(func() {
		for i := range 300 { // more than a pipe holds
			m := frame(i, 1000)
			want = append(want, m...)
			if i%2 == 0 {
				c.Write(m)
			} else {
				c.Send(NewMessage(m))
			}
		}
		c.CloseAfterFlush(patience, nil)
	})
	r.gets(p, want)
	r.ends(c, nil)
	if _, err := p.receive(); err != io.EOF {
		r.Errorf("reader: %v, want EOF", err)
	}
	if h := r.of(c); h.calls != 0 || h.eof {
		r.Errorf("%d calls of Data, EOF %t on a write end", h.calls, h.eof)
	}
}

// A write end learns that nobody reads, without writing.
func TestLoopPipeNoReader(t *testing.T) { eachBackend(t, pipeNoReader) }

func pipeNoReader(r *rig) {
	for _, stuck := range []bool{false, true} {
		read, write := r.pipe()
		c := r.add(write)
		if stuck {
			r.do(func() { c.Write(make([]byte, 200_000)) })
		}
		unix.Close(read)
		r.ends(c, unix.EPIPE)
	}
}

// A paused write end learns it with Resume.
func TestLoopPipeNoReaderPaused(t *testing.T) { eachBackend(t, pipeNoReaderPaused) }

func pipeNoReaderPaused(r *rig) {
	read, write := r.pipe()
	c := r.add(write)
	c.Pause()
	unix.Close(read)
	r.turn()
	if r.of(c).closed {
		r.Log("closed while paused, which is allowed as well")
		return
	}
	r.do(c.Resume)
	r.ends(c, unix.EPIPE)
}

// A terminal that hung up is at the end.
func TestLoopTerminalHangup(t *testing.T) { eachBackend(t, terminalHangup) }

func terminalHangup(r *rig) {
	c, p := r.terminal(false)
	p.write("last words")
	p.close()
	r.ends(c, nil)
	if h := r.of(c); string(h.got) != "last words" || !h.eof {
		r.Errorf("Data saw %q, EOF %t", h.got, h.eof)
	}
}

// A terminal returns a line at a time.
func TestLoopTerminalLines(t *testing.T) { eachBackend(t, terminalLines) }

// A short read of a terminal does not mean that there is no second line.
func terminalLines(r *rig) {
	master, slave := r.terminal(true)
	line := "a line\n"
	n := 20
	c := r.add(mustDup(r, slave.fd))
	r.do(func() {
		for range n {
			master.Write([]byte(line))
		}
	})
	r.until("all lines", func() bool { return len(r.of(c).got) == n*len(line) })
	if r.of(c).calls < n {
		r.Errorf("%d calls of Data; the test needs a line at a time", r.of(c).calls)
	}
	r.do(func() { c.Abort(nil); master.Abort(nil) })
}

func mustDup(r *rig, fd int) int {
	r.Helper()
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		r.Fatal(err)
	}
	return n
}

// TCP is not delayed, whoever opened it.
func TestLoopAdoptedNoDelay(t *testing.T) { eachBackend(t, adoptedNoDelay) }

func adoptedNoDelay(r *rig) {
	c, _ := r.tcp()
	if on, err := unix.GetsockoptInt(c.FD(), unix.IPPROTO_TCP, unix.TCP_NODELAY); err != nil || on == 0 {
		r.Errorf("TCP_NODELAY %d, %v", on, err)
	}
	if fl, err := unix.FcntlInt(uintptr(c.FD()), unix.F_GETFL, 0); err != nil || fl&unix.O_NONBLOCK == 0 {
		r.Errorf("flags %#x, %v; want O_NONBLOCK", fl, err)
	}
}

// What is no stream is refused.
func TestLoopAddRefuses(t *testing.T) { eachBackend(t, addRefuses) }

func addRefuses(r *rig) {
	dgram, _ := socketPair(r.T, unix.SOCK_DGRAM)
	defer unix.Close(dgram)
	null, err := os.Open(os.DevNull)
	if err != nil {
		r.Fatal(err)
	}
	defer null.Close()
	for name, tt := range map[string]struct {
		fd   int
		want error
	}{
		"a datagram socket": {dgram, ErrSocketType},
		"/dev/null":         {int(null.Fd()), unix.EPERM},
	} {
		if c, err := r.l.Add(tt.fd, r.probe, nil); c != nil || !errors.Is(err, tt.want) {
			r.Errorf("%s: Add = %v, %v; want %v", name, c, err, tt.want)
		}
	}
	if n := r.l.Stats().Conns; n != 0 {
		r.Errorf("%d connections", n)
	}
}
