// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPlacesOfTheGone: clients that came, asked and left while no process was
// there wait in the backlog in front of one that stays. At none of the limits
// they take its place.
func TestPlacesOfTheGone(t *testing.T) {
	for _, limit := range []string{"max_connections = 2", "per_source = 2", "max_connections = 1", "per_source = 1"} {
		for _, backend := range []string{"epoll", "io_uring"} {
			for _, network := range []string{"tcp", "unix"} {
				t.Run(limit+" "+backend+" "+network, func(t *testing.T) { placesOfTheGone(t, limit, backend, network) })
			}
		}
	}
}

func placesOfTheGone(t *testing.T, limit, backend, network string) {
	ln, fd, family := passed(t, network)
	connect := func() net.Conn {
		c, err := net.Dial(network, ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, "question"); err != nil {
			t.Fatal(err)
		}
		return c
	}
	for range 5 {
		connect().Close()
	}
	stays := connect()
	text := fmt.Sprintf("[loop]\nbackend = '%s'\n[service.echo]\nkind = 'echo'\nlisten = ['%s']\n%s\n", backend, ln.Addr(), limit)
	r := runActivated(t, text, fd, family, ln.Addr().String())
	defer r.stop(t)
	defer stays.Close()
	answer := make([]byte, len("question"))
	if n, err := io.ReadFull(stays, answer); err != nil {
		t.Errorf("%q, %v; want an answer", answer[:n], err)
	}
	r.do(func() {
		for _, ep := range r.endpoints {
			if len(ep.refused) > 0 {
				t.Errorf("refused: %v", ep.refused)
			}
		}
	})
}

// passed opens a listener and the descriptor of it that a process inherits.
func passed(t testing.TB, network string) (ln net.Listener, fd, family int) {
	t.Helper()
	addr, family := "127.0.0.1:0", unix.AF_INET
	if network == "unix" {
		addr, family = t.TempDir()+"/s", unix.AF_UNIX
	}
	ln, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	f, err := ln.(interface {
		SyscallConn() (syscall.RawConn, error)
	}).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = f.Control(func(own uintptr) { fd, err = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) })
	if err != nil {
		t.Fatal(err)
	}
	return ln, fd, family
}
