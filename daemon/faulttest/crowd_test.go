// SPDX-License-Identifier: Apache-2.0

package faulttest

import (
	"bufio"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// A crowd is many clients of one service who read all that comes. They have
// many addresses, since one may not take all places (limits.per_source).
type crowd struct {
	h     *host
	name  string
	conns []net.Conn
	read  atomic.Int64 // bytes
	done  sync.WaitGroup
}

const (
	perAddress = 60 // clients; the default of limits.per_source is 64
	doors      = 16 // clients that come at the same time
)

// line is what one of them says.
var line = strings.Repeat("word ", 20) + "\n"

// source is the address of the i-th client.
func source(i int) net.Addr {
	i /= perAddress
	return &net.TCPAddr{IP: net.IPv4(127, 1, byte(i/250), byte(1+i%250))}
}

// crowd brings n clients, and returns when all are connected.
func (h *host) crowd(name string, n int) *crowd {
	h.t.Helper()
	c := &crowd{h: h, name: name, conns: make([]net.Conn, n)}
	var come sync.WaitGroup
	for door := range doors {
		come.Go(func() {
			for i := door; i < n; i += doors {
				c.come(i)
			}
		})
	}
	come.Wait()
	h.t.Cleanup(c.close)
	if h.t.Failed() {
		h.t.FailNow()
	}
	return c
}

// come has the i-th client connect.
func (c *crowd) come(i int) bool {
	conn, err := dialFrom(source(i), c.h.at[c.name], nil)
	if err != nil {
		c.h.t.Error(err)
		return false
	}
	c.conns[i] = conn
	c.listen(conn)
	return true
}

func (c *crowd) listen(conn net.Conn) {
	c.done.Go(func() {
		b := make([]byte, 16<<10)
		for {
			n, err := conn.Read(b)
			c.read.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
}

func (c *crowd) close() {
	for _, conn := range c.conns {
		if conn != nil {
			_ = conn.Close()
		}
	}
	c.done.Wait()
}

// churn has all leave and come again, in turns, and counts them.
func (c *crowd) churn(stop <-chan struct{}) int64 {
	var n atomic.Int64
	var work sync.WaitGroup
	for door := range doors {
		work.Go(func() {
			for i := door; open(stop); n.Add(1) {
				_ = c.conns[i].Close()
				if !c.come(i) {
					return
				}
				if i += doors; i >= len(c.conns) {
					i = door
				}
			}
		})
	}
	work.Wait()
	return n.Load()
}

// flood adds n clients of one address that say what they can until the crowd is
// closed.
func (c *crowd) flood(n int) {
	c.h.t.Helper()
	lines := []byte(strings.Repeat(line, 100))
	for range n {
		conn, err := dialFrom(&net.TCPAddr{IP: net.IPv4(127, 2, 0, 1)}, c.h.at[c.name], nil)
		c.h.check(err)
		c.conns = append(c.conns, conn)
		c.listen(conn)
		c.done.Go(func() {
			for {
				if _, err := conn.Write(lines); err != nil {
					return
				}
			}
		})
	}
}

// talk adds a client that says a line whenever it has heard the one before,
// until the crowd is closed.
func (c *crowd) talk() {
	c.h.t.Helper()
	conn, err := dialFrom(&net.TCPAddr{IP: net.IPv4(127, 2, 0, 1)}, c.h.at[c.name], nil)
	c.h.check(err)
	c.conns = append(c.conns, conn)
	c.done.Go(func() {
		heard := bufio.NewReader(conn)
		for {
			if _, err := conn.Write([]byte(line)); err != nil {
				return
			}
			if _, err := heard.ReadSlice('\n'); err != nil {
				return
			}
		}
	})
}

// stuck brings n clients that never read.
func (h *host) stuck(name string, n int) {
	h.t.Helper()
	little := func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 1) })
	}
	for i := range n {
		conn, err := dialFrom(source(i), h.at[name], little)
		h.check(err)
		h.t.Cleanup(func() { _ = conn.Close() })
	}
}

func dialFrom(source, to net.Addr, control func(network, address string, c syscall.RawConn) error) (net.Conn, error) {
	d := net.Dialer{LocalAddr: source, Timeout: patience, Control: control}
	return d.Dial(to.Network(), to.String())
}
