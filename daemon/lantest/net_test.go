// SPDX-License-Identifier: Apache-2.0

package lantest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A machine is a network namespace.
type machine struct {
	t    *testing.T
	name string
}

// newLAN joins the board, which serves, and the desk, which asks.
//
//	          board                                   desk
//	eth0 10.9.0.1/8, 203.0.113.1/29 ──────── eth0 10.9.0.2/8, 203.0.113.2/29
//	     fd09::1/64, fe80::1/64                   fd09::2, fd09::3, fe80::2, fe80::3
//	                                              203.0.177.9, 2001:db8:5::9: strangers
//
// The desk's last two addresses are in no network of the board, which has routes
// to them.
func newLAN(t *testing.T) (board, desk *machine) {
	t.Helper()
	need(t)
	board, desk = newMachine(t, "board"), newMachine(t, "desk")
	ip(t, "link add eth0 netns "+board.name+" type veth peer name eth0 netns "+desk.name)
	for m, lines := range map[*machine][]string{
		board: {
			"addr add 10.9.0.1/8 dev eth0", "addr add 203.0.113.1/29 dev eth0",
			"addr add fd09::1/64 dev eth0 nodad", "addr add fe80::1/64 dev eth0 nodad",
			"link set eth0 up",
			"route add 203.0.177.9 via 10.9.0.2", "route add 2001:db8:5::9 via fd09::2",
		},
		desk: {
			"addr add 10.9.0.2/8 dev eth0", "addr add 203.0.113.2/29 dev eth0", "addr add 203.0.177.9/32 dev eth0",
			"addr add fd09::2/64 dev eth0 nodad", "addr add fd09::3/64 dev eth0 nodad",
			"addr add fe80::2/64 dev eth0 nodad", "addr add fe80::3/64 dev eth0 nodad",
			"addr add 2001:db8:5::9/128 dev eth0 nodad",
			"link set eth0 up",
		},
	} {
		for _, line := range lines {
			ip(t, "-n "+m.name+" "+line)
		}
	}
	return board, desk
}

func newMachine(t *testing.T, role string) *machine {
	t.Helper()
	m := &machine{t, fmt.Sprintf("penstock-%s-%d", role, os.Getpid())}
	ip(t, "netns add "+m.name)
	t.Cleanup(func() { ip(t, "netns del "+m.name) })
	ip(t, "-n "+m.name+" link set lo up")
	return m
}

func ip(t *testing.T, line string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v\n%s", line, err, out)
	}
}

// do runs f on a thread that is on m, and ends the thread.
func (m *machine) do(f func() error) {
	m.t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		fd, err := unix.Open("/run/netns/"+m.name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = os.NewSyscallError("setns", unix.Setns(fd, unix.CLONE_NEWNET))
			_ = unix.Close(fd)
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		m.t.Fatalf("%s: %v", m.name, err)
	}
}

// listen opens a socket: tcp on [::] is one for IPv6 and IPv4, tcp6 for the
// former only.
func (m *machine) listen(network, address string) *os.File {
	m.t.Helper()
	var file *os.File
	m.do(func() error {
		var conf net.ListenConfig
		conf.SetMultipathTCP(false)
		ln, err := conf.Listen(m.t.Context(), network, address)
		if err != nil {
			return err
		}
		defer ln.Close()
		file, err = ln.(*net.TCPListener).File()
		return err
	})
	m.t.Cleanup(func() { _ = file.Close() })
	return file
}

// dial connects from one address of m to another.
func (m *machine) dial(from, to string) (c *net.TCPConn) {
	m.t.Helper()
	m.do(func() error {
		local, err := net.ResolveTCPAddr("tcp", from)
		if err != nil {
			return err
		}
		d := net.Dialer{LocalAddr: local, Timeout: patience}
		conn, err := d.Dial("tcp", to)
		if err == nil {
			c = conn.(*net.TCPConn)
		}
		return err
	})
	m.t.Cleanup(func() { _ = c.Close() })
	return c
}
