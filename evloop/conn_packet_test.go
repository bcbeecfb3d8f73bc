// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"
)

func (r *rig) seqpacket() (*Conn, *peer) {
	r.Helper()
	ours, p := socketPair(r.T, unix.SOCK_SEQPACKET)
	return r.add(ours), p
}

// A packet is one message, in and out.
func TestLoopPacketBoundaries(t *testing.T) { eachBackend(t, packetBoundaries) }

func packetBoundaries(r *rig) {
	c, p := r.seqpacket()
	var seen []string
	r.onData = func(c *Conn, b []byte) int { seen = append(seen, string(b)); return len(b) }
	p.write("one")
	p.write("two")
	r.until("two packets", func() bool { return len(seen) == 2 })
	if seen[0] != "one" || seen[1] != "two" {
		r.Errorf("Data saw %q, want a call for each packet", seen)
	}
	unix.SetsockoptInt(c.FD(), unix.SOL_SOCKET, unix.SO_SNDBUF, 4096)
	var want [][]byte
	r.do(func() {
		for i := range 30 { // more than the socket takes
			m := frame(i, 200)
			want = append(want, m)
			switch i % 3 {
			case 0:
				c.Write(m)
			case 1:
				c.WriteStatic(m)
			case 2:
				c.Send(NewMessage(m))
			}
		}
	})
	buf := make([]byte, 4096)
	for i := range want {
		var n int
		r.spin("a packet", func() (ok bool) { n, _ = unix.Read(p.fd, buf); return n > 0 })
		if !bytes.Equal(buf[:n], want[i]) {
			r.Fatalf("packet %d has %d bytes, want message %d of %d", i, n, i, len(want[i]))
		}
	}
}

// An empty packet is not the end.
func TestLoopPacketEmpty(t *testing.T) { eachBackend(t, packetEmpty) }

func packetEmpty(r *rig) {
	c, p := r.seqpacket()
	for _, m := range []string{"", "a", "", "", "b", ""} {
		if err := unix.Send(p.fd, []byte(m), 0); err != nil {
			r.Fatal(err)
		}
	}
	r.until("the packets", func() bool { return string(r.of(c).got) == "ab" })
	r.turn()
	if h := r.of(c); h.eof || h.closed || h.calls != 2 {
		r.Errorf("EOF %t, closed %t, %d calls of Data; want an open connection and 2", h.eof, h.closed, h.calls)
	}
	if c.edge&edgeReadable != 0 {
		r.Error("not read until there was nothing more")
	}
}

// A packet peer that shut its side is at the end.
func TestLoopPacketHalfClose(t *testing.T) { eachBackend(t, packetHalfClose) }

// The end and an empty packet both read as zero; here come both, and the end
// is not accompanied by a hang-up.
func packetHalfClose(r *rig) {
	for _, last := range []string{"", "x"} {
		c, p := r.seqpacket()
		r.onEOF = func(c *Conn) {
			c.Write([]byte("reply"))
			c.CloseAfterFlush(patience, nil)
		}
		unix.Send(p.fd, nil, 0)
		unix.Send(p.fd, []byte(last), 0)
		p.shut()
		r.until("EOF", func() bool { return r.of(c).eof })
		if got := string(r.of(c).got); got != last {
			r.Errorf("Data saw %q before EOF, want %q", got, last)
		}
		r.gets(p, []byte("reply"))
		r.ends(c, nil)
	}
}

// A packet is not cut by the read budget.
func TestLoopPacketBudget(t *testing.T) { eachBackend(t, packetBudget) }

func packetBudget(r *rig) {
	r.use(Config{ReadBudget: 10})
	c, p := r.seqpacket()
	p.write(string(make([]byte, 30_000)))
	p.write("next")
	r.until("both packets", func() bool { return len(r.of(c).got) == 30_004 })
	if n := r.of(c).calls; n != 2 {
		r.Errorf("%d calls of Data for 2 packets", n)
	}
}

// A packet larger than the read buffer ends the connection.
func TestLoopPacketTruncated(t *testing.T) { eachBackend(t, packetTruncated) }

func packetTruncated(r *rig) {
	c, p := r.seqpacket()
	unix.SetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 200_000)
	p.write("fits")
	p.write(string(make([]byte, readSize)))
	p.write(string(make([]byte, readSize+1)))
	r.ends(c, ErrTruncated)
	if n := len(r.of(c).got); n != 4+readSize {
		r.Errorf("Data saw %d bytes, want the packets that fit", n)
	}
}

// A message larger than a packet can be ends the connection.
func TestLoopPacketTooLarge(t *testing.T) { eachBackend(t, packetTooLarge) }

func packetTooLarge(r *rig) {
	c, _ := r.seqpacket()
	r.do(func() { c.Write(make([]byte, 10<<20)) })
	r.ends(c, unix.EMSGSIZE)
}
