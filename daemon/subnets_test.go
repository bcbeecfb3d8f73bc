// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/listen/listentest"
	"penstock/systemd"
)

// runActivated is runDaemon for one service called echo and an inherited
// listener of it, which it closes at the end.
func runActivated(t testing.TB, text string, fd, family int, addr string) *running {
	t.Helper()
	sock := systemd.Socket{FD: fd, Name: "echo", Family: family, Type: unix.SOCK_STREAM, Addr: addr}
	ready := make(chan struct{})
	d, err := New(parse(t, text), Env{
		Log: slog.New(slog.DiscardHandler), Managed: true, Ready: func() { close(ready) },
		Inherited: systemd.Inherited{Activated: true, Sockets: []systemd.Socket{sock}},
	})
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, d)
	<-ready
	return r
}

// dualStack opens a listener for IPv6 and IPv4, and returns its port.
func dualStack(t *testing.T) (fd, port int) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Skip(err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet6{}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 64); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fd, sa.(*unix.SockaddrInet6).Port
}

// admitted connects from one address to another, says x and reports whether it
// comes back.
func admitted(t *testing.T, from, to string, port int) bool {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := dialer.Dial("tcp", net.JoinHostPort(to, fmt.Sprint(port)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "x"); err != nil {
		return false
	}
	n, _ := c.Read(make([]byte, 1))
	return n == 1
}

// TestSubnetsDualStack: a service whose only socket is an inherited one for
// IPv6 and IPv4 knows the machine's IPv4 networks, for allow and for deny.
func TestSubnetsDualStack(t *testing.T) {
	if !listentest.Alone(t) {
		return
	}
	listentest.IP(t, "link set lo up")
	listentest.IP(t, "addr add 10.1.2.3/24 dev lo")
	// Clients can have these addresses, and the machine is not in their network.
	listentest.IP(t, "route add local 203.0.113.0/24 dev lo")
	for _, tt := range []struct {
		rule        string
		near, other bool
	}{
		{"allow = ['local-subnets']", true, false},
		{"deny = ['local-subnets']", false, true},
		{"allow = ['local-subnets', '203.0.113.0/24']\ndeny = ['203.0.113.4']", true, false},
	} {
		fd, port := dualStack(t)
		r := runActivated(t, "[service.echo]\nkind = 'echo'\nlisten = ['7000']\n"+tt.rule+"\n", fd, unix.AF_INET6, fmt.Sprintf("[::]:%d", port))
		for range 2 { // the second time the answer is known
			if got := admitted(t, "10.1.2.3", "10.1.2.3", port); got != tt.near {
				t.Errorf("%s: a neighbour is admitted: %v, want %v", tt.rule, got, tt.near)
			}
			if got := admitted(t, "203.0.113.4", "10.1.2.3", port); got != tt.other {
				t.Errorf("%s: a stranger is admitted: %v, want %v", tt.rule, got, tt.other)
			}
		}
		r.stop(t)
	}
}

// TestSubnetsBehindUnix: a client that is announced on a Unix socket, which cannot be
// asked, is compared with the last complete answer however old it is.
func TestSubnetsBehindUnix(t *testing.T) {
	r := runControlled(t, "[service.e]\nkind = 'echo'\nlisten = ['DIR/e']\nallow = ['local-subnets']\n")
	defer r.stop(t)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	near := netip.MustParsePrefix("192.0.2.0/24")
	r.do(func() {
		r.env.Managed = true // it may open no socket
		defer func() { r.env.Managed = false }()
		ep := r.endpoints["e"]
		if got := r.subnets(ep, pair[0], near.Addr()); !got.Incomplete {
			t.Errorf("without a socket to ask the answer is %v", got)
		}
		r.local = localSubnets{known: config.Subnets{Networks: []netip.Prefix{near}}, at: r.loop.Now().Add(-subnetsAge)}
		old := r.local.at
		for range 2 {
			got := r.subnets(ep, pair[0], near.Addr())
			if got.Incomplete || len(got.Networks) != 1 || got.Networks[0] != near || r.local.told || r.local.at != old {
				t.Errorf("the answer is %v, kept %+v", got, r.local)
			}
		}
	})
}

// TestSubnetsInDoubt: while the networks cannot be learned, here because the
// first client has shut its side already, nobody gets in who might have to stay
// out. The next client ends the doubt.
func TestSubnetsInDoubt(t *testing.T) {
	if !listentest.Alone(t) {
		return
	}
	listentest.IP(t, "link set lo up")
	listentest.IP(t, "addr add 10.1.2.3/24 dev lo")
	listentest.IP(t, "route add local 203.0.113.0/24 dev lo")
	for _, tt := range []struct {
		rule, from string
		inDoubt    bool
		later      bool
	}{
		{"allow = ['local-subnets']", "10.1.2.3", true, true}, // the machine's own address
		{"allow = ['local-subnets']", "10.1.2.9", false, true},
		{"allow = ['local-subnets']", "203.0.113.4", false, false},
		{"deny = ['local-subnets']", "203.0.113.4", false, true},
	} {
		fd, port := dualStack(t)
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(tt.from)}}
		first, err := dialer.Dial("tcp", fmt.Sprintf("10.1.2.3:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(first, "x"); err != nil {
			t.Fatal(err)
		}
		if err := first.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		r := runActivated(t, "[service.echo]\nkind = 'echo'\nlisten = ['7000']\n"+tt.rule+"\n", fd, unix.AF_INET6, fmt.Sprintf("[::]:%d", port))
		n, _ := first.Read(make([]byte, 1))
		if got := n == 1; got != tt.inDoubt {
			t.Errorf("%s: %s is admitted in doubt: %v, want %v", tt.rule, tt.from, got, tt.inDoubt)
		}
		first.Close()
		if got := admitted(t, tt.from, "10.1.2.3", port); got != tt.later {
			t.Errorf("%s: %s is admitted: %v, want %v", tt.rule, tt.from, got, tt.later)
		}
		r.stop(t)
	}
}
