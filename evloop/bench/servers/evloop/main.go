// SPDX-License-Identifier: Apache-2.0

// Command evloop is the server under test: the modes of the bench on package
// evloop, as its user would write them.
package main

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"penstock/evloop"
	"penstock/evloop/bench/servers/peer"
)

func main() {
	args := peer.Parse("echo", "ask", "room")
	// One loop is one goroutine; a second P would only let the scheduler
	// move it around. The daemon does the same.
	runtime.GOMAXPROCS(1)
	if err := serve(args); err != nil {
		peer.Fail(err)
	}
}

func serve(args peer.Args) error {
	fd, err := listen(args.Network, args.Address)
	if err != nil {
		return err
	}
	var h evloop.Handler
	switch args.Mode {
	case "echo":
		h = echo{}
	case "ask":
		h = ask{}
	case "room":
		h = &room{}
	}
	if strings.HasSuffix(os.Args[0], "-2") {
		return serveTwo(fd, h)
	}
	var cfg evloop.Config
	if strings.HasSuffix(os.Args[0], "-uring") { // built under that name too
		cfg.IOUring = &evloop.IOUring{}
	}
	l, err := evloop.New(cfg)
	if err == nil {
		err = l.Fallback() // figures of epoll must not appear under the name of the ring
	}
	if err != nil {
		return err
	}
	if _, err := l.Listen(fd, acceptor{h}); err != nil {
		return err
	}
	return l.Run()
}

// listen opens the socket, unless a service manager has done so.
func listen(network, address string) (int, error) {
	if peer.Inherited() {
		return 3, nil
	}
	family, to := unix.AF_UNIX, unix.Sockaddr(&unix.SockaddrUnix{Name: address})
	if network != "unix" {
		ap, err := netip.ParseAddrPort(address)
		if err != nil {
			return -1, err
		}
		family, to = unix.AF_INET, &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	err = errors.Join(
		os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)),
		os.NewSyscallError("bind", unix.Bind(fd, to)),
		os.NewSyscallError("listen", unix.Listen(fd, 4096)))
	return fd, err
}

// options allow twice what a client of the bench has on the way at most.
var options = &evloop.Options{Queue: 256 << 10}

type acceptor struct{ h evloop.Handler }

func (a acceptor) Accept(*evloop.Listener, int, netip.AddrPort) (evloop.Handler, any) {
	return a.h, nil
}

func (acceptor) Failed(*evloop.Listener, error) {}

// base is what the three handlers have in common.
type base struct{}

func (base) Open(c *evloop.Conn)        { c.SetOptions(options) }
func (base) EOF(c *evloop.Conn)         { c.CloseAfterFlush(5*time.Second, nil) }
func (base) Drained(*evloop.Conn)       {}
func (base) Closed(*evloop.Conn, error) {}

type echo struct{ base }

func (echo) Data(c *evloop.Conn, p []byte) int {
	c.WriteStatic(p)
	return len(p)
}

type ask struct{ base }

func (ask) Data(c *evloop.Conn, p []byte) int {
	n := 0
	for !c.Full() {
		i := bytes.IndexByte(p[n:], '?')
		if i < 0 {
			break
		}
		c.Write([]byte(peer.Answer(p[n : n+i+1])))
		n += i + 1
	}
	return n
}

// A room sends each line to everybody but its sender. State is the place in
// members.
type room struct {
	base
	members []*evloop.Conn
}

func (r *room) Open(c *evloop.Conn) {
	c.SetOptions(options)
	c.State = len(r.members)
	r.members = append(r.members, c)
}

func (r *room) Data(c *evloop.Conn, p []byte) int {
	n := 0
	for {
		i := bytes.IndexByte(p[n:], '\n')
		if i < 0 {
			return n
		}
		line := evloop.NewMessage(bytes.Clone(p[n : n+i+1]))
		for _, m := range r.members {
			if m != c {
				m.Send(line)
			}
		}
		n += i + 1
	}
}

func (r *room) Closed(c *evloop.Conn, _ error) {
	place, last := c.State.(int), len(r.members)-1
	r.members[place] = r.members[last]
	r.members[place].State = place
	r.members = r.members[:last]
}
