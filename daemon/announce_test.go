// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/proxyproto"
	"penstock/daemon/internal/view"
	"penstock/evloop/evlooptest"
	"penstock/systemd"
)

var (
	announcedFrom = netip.MustParseAddrPort("192.0.2.9:4000")
	announcedTo   = netip.MustParseAddrPort("198.51.100.7:443")
)

// dial connects to a service on network "unix" or "tcp" of r and gives each step time.
func (r *running) dial(name, network string) talker {
	r.t.Helper()
	var at string
	r.do(func() {
		for _, l := range r.endpoints[name].listeners {
			if l.Unix() == (network == "unix") {
				at = l.Text
			}
		}
	})
	c, err := net.Dial(network, at)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(evlooptest.Patience)); err != nil {
		r.t.Fatal(err)
	}
	return talker{c, r.t}
}

// announces is the text of a file with a service e that is told of its clients.
func announces(t *testing.T, backend, keys string) string {
	return fmt.Sprintf(`[loop]
backend = %q
[service.e]
kind = "echo"
listen = [%q, "%s/e"]
accept_proxy = ["127.0.0.0/8", "unix"]
%s
`, backend, freeAddress(t), t.TempDir(), keys)
}

// freeAddress returns an address on which nobody listens, and that nobody else gets: few
// programs use another loopback address than the first.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", rand.IntN(250)+2, rand.IntN(250), rand.IntN(250)+2))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// eachAnnounced runs test on both back ends, over both kinds of socket.
func eachAnnounced(t *testing.T, test func(t *testing.T, backend, network string)) {
	for _, backend := range []string{"epoll", "io_uring"} {
		for _, network := range []string{"tcp", "unix"} {
			t.Run(backend+" "+network, func(t *testing.T) { test(t, backend, network) })
		}
	}
}

// peers returns who is connected, as the snapshot has it.
func (r *running) peers() (peers []string) {
	r.t.Helper()
	seen := make(chan *view.Snapshot, 1)
	r.do(func() { r.look(9, func(s *view.Snapshot) { seen <- s }) })
	for _, v := range (<-seen).Services {
		for _, c := range v.Conns {
			peers = append(peers, c.Peer.String())
		}
	}
	return peers
}

// counted returns the bytes of all clients of a service, as the control socket tells them.
func (r *running) counted(name string) (t view.Traffic) {
	r.t.Helper()
	r.do(func() {
		ep := r.endpoints[name]
		n := r.count([]*endpoint{ep})
		for !n.goOn() {
		}
		t = n.of(ep)
	})
	return t
}

// TestAnnounced: whichever version tells who the client is, and however it is cut, the
// snapshot and the log have that client. The service gets its bytes, but not the header,
// and only they are counted.
func TestAnnounced(t *testing.T) {
	eachAnnounced(t, func(t *testing.T, backend, network string) {
		r, out := runRestartable(t, parse(t, announces(t, backend, "")))
		sent := uint64(0)
		for _, header := range [][]byte{proxyproto.V1(announcedFrom, announcedTo), proxyproto.V2(announcedFrom, announcedTo)} {
			for _, cut := range []int{0, 1, 13, len(header) - 1, len(header)} {
				c := r.dial("e", network)
				if cut > 0 {
					c.say(string(header[:cut]))
					r.taken("e", cut)
				}
				c.say(string(header[cut:]) + "hello")
				c.hears("hello")
				if got := r.peers(); len(got) != 1 || got[0] != announcedFrom.String() {
					t.Errorf("cut at %d: the snapshot has %q", cut, got)
				}
				sent += 5
				if got := r.counted("e"); got.In != sent {
					t.Errorf("cut at %d: %d bytes are counted, want %d", cut, got.In, sent)
				}
				c.Close()
				r.until("the end", func() bool { return r.clients() == 0 })
			}
		}
		r.do(func() {
			if n := len(r.sources.conns) + len(r.endpoints["e"].sources.conns); n != 0 {
				t.Errorf("%d sources are counted when nobody is there", n)
			}
			if ep := r.endpoints["e"]; ep.closed.In != 50 || ep.accepted != 10 {
				t.Errorf("%d clients have sent %d bytes, want 10 and 50", ep.accepted, ep.closed.In)
			}
		})
		r.stop(t)
		if strings.Contains(out.String(), "refused") {
			t.Errorf("complaints:\n%s", out)
		}
	})
}

// TestAnnouncedRefused: the rules hold for the client that was announced, and a proxy that
// does not announce properly is told from one that does.
func TestAnnouncedRefused(t *testing.T) {
	v1, v2 := string(proxyproto.V1(announcedFrom, announcedTo)), string(proxyproto.V2(announcedFrom, announcedTo))
	for _, tt := range []struct{ name, keys, says, want string }{
		{"denied", `deny = ["192.0.2.0/24"]`, v2, "reason=address"},
		{"not allowed", `allow = ["127.0.0.0/8"]`, v1, "reason=address"},
		{"malformed", "", "GET / HTTP/1.1\r\n", "malformed PROXY header"},
		{"half", "", v1[:20], "ends after 20 bytes"},
		{"silent", "", "", "no PROXY header in"},
		{"slow", "", v2[:20], "no PROXY header in"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachAnnounced(t, func(t *testing.T, backend, network string) {
				if strings.HasPrefix(tt.want, "no PROXY") {
					announceIn(t, 20*time.Millisecond)
				}
				r, out := runRestartable(t, parse(t, announces(t, backend, tt.keys)))
				c := r.dial("e", network)
				io.WriteString(c, tt.says) // it may be too late already, which is the same
				if tt.name == "half" {
					r.until("all has come", func() bool { return r.hasGot("e", len(tt.says)) })
					c.Conn.(interface{ CloseWrite() error }).CloseWrite()
				}
				c.hearsEnd()
				r.until("the end", func() bool { return r.clients() == 0 })
				r.do(func() {
					if ep := r.endpoints["e"]; ep.accepted != 0 || len(ep.refused) != 1 {
						t.Errorf("%d clients were let in, and %v refused", ep.accepted, ep.refused)
					}
				})
				r.stop(t)
				wantLine(t, out, "connection refused", tt.want)
				if real := "peer=192.0.2.9:4000"; strings.Contains(out.String(), real) != strings.Contains(tt.want, "address") {
					t.Errorf("the log does not have the peer that counts:\n%s", out)
				}
			})
		})
	}
}

// announceIn sets announceTime for the rest of a test.
func announceIn(t *testing.T, d time.Duration) {
	was := announceTime
	announceTime = d
	t.Cleanup(func() { announceTime = was })
}

// hasGot reports whether so many bytes have come from the only client of a service, or
// none is there any more.
func (r *running) hasGot(name string, n int) bool {
	for c := range r.endpoints[name].connections {
		return c.BytesIn() == uint64(n)
	}
	return true
}

// TestAnnouncedPerSource: the clients of one address are counted together, whoever
// announces them, and a place is free as soon as one has left.
func TestAnnouncedPerSource(t *testing.T) {
	eachAnnounced(t, func(t *testing.T, backend, network string) {
		r, out := runRestartable(t, parse(t, announces(t, backend, "per_source = 1")))
		header := string(proxyproto.V2(announcedFrom, announcedTo))
		one := r.dial("e", network)
		one.say(header + "a")
		one.hears("a")
		two := r.dial("e", network)
		two.say(header + "b")
		two.hearsEnd()
		other := r.dial("e", network)
		other.say(string(proxyproto.V2(netip.MustParseAddrPort("192.0.2.10:4000"), announcedTo)) + "c")
		other.hears("c")
		again := r.dial("e", network)
		r.do(func() { // the loop sees both in one turn: whoever leaves makes room
			again.say(header + "d")
			one.Close()
		})
		again.hears("d")
		again.Close()
		other.Close()
		r.stop(t)
		wantLine(t, out, "connection refused", "reason=per_source", "peer=192.0.2.9:4000")
	})
}

// TestAnnouncedLocal: a proxy's own connection, and a client of which it knows no address,
// count as what they are.
func TestAnnouncedLocal(t *testing.T) {
	unknown := proxyproto.V1(netip.AddrPort{}, netip.AddrPort{})
	local := proxyproto.V2(netip.AddrPort{}, netip.AddrPort{})
	local[12] = 0x20
	eachAnnounced(t, func(t *testing.T, backend, network string) {
		r := runDaemon(t, parse(t, announces(t, backend, `allow = ["127.0.0.0/8"]`)))
		for _, header := range [][]byte{unknown, local} {
			c := r.dial("e", network)
			c.say(string(header) + "x")
			c.hears("x")
			want := c.LocalAddr().String()
			if network == "unix" {
				want = fmt.Sprintf("uid %d pid %d", os.Getuid(), os.Getpid())
			}
			if got := r.peers(); len(got) != 1 || got[0] != want {
				t.Errorf("%q: the snapshot has %q, want %q", header, got, want)
			}
			c.Close()
			r.until("the end", func() bool { return r.clients() == 0 })
		}
		r.stop(t)
	})
}

// TestNotAnnounced: what another than a listed proxy sends is never a header.
func TestNotAnnounced(t *testing.T) {
	header := string(proxyproto.V1(announcedFrom, announcedTo))
	for network, list := range map[string]string{"tcp": `["unix", "192.0.2.0/24"]`, "unix": `["0.0.0.0/0"]`} {
		text := strings.Replace(announces(t, "epoll", ""), `["127.0.0.0/8", "unix"]`, list, 1)
		r := runDaemon(t, parse(t, text))
		c := r.dial("e", network)
		c.say(header)
		c.hears(header)
		c.Close()
		r.stop(t)
	}
}

// TestAnnouncedHealthCheck: one who only looks whether anybody listens is no complaint.
func TestAnnouncedHealthCheck(t *testing.T) {
	r, out := runRestartable(t, parse(t, announces(t, "epoll", "")))
	for range 3 {
		r.dial("e", "tcp").Close()
	}
	r.until("the end", func() bool { return r.loop.Stats().Accepted == 3 && r.clients() == 0 })
	r.stop(t)
	if strings.Contains(out.String(), "WARN") {
		t.Errorf("complaints:\n%s", out)
	}
}

// TestAnnouncedListener: a client that shuts its side without a word listens, although its
// proxy has spoken.
func TestAnnouncedListener(t *testing.T) {
	text := strings.Replace(announces(t, "epoll", ""), `kind = "echo"`, "kind = \"ticker\"\ninterval = \"10ms\"\npayload = \"x\"", 1)
	for _, network := range []string{"tcp", "unix"} {
		r := runDaemon(t, parse(t, text))
		c := r.dial("e", network)
		c.say(string(proxyproto.V2(announcedFrom, announcedTo)))
		c.hears("x")
		c.Conn.(interface{ CloseWrite() error }).CloseWrite()
		c.hears("xxx")
		r.do(func() {
			if n := len(r.silent); n != map[string]int{"tcp": 1}[network] {
				t.Errorf("%d silent clients over %s", n, network)
			}
		})
		r.stop(t)
		if _, err := io.ReadAll(c); err != nil && !errors.Is(err, unix.ECONNRESET) {
			t.Error(err)
		}
	}
}

// TestAnnouncedInherited: a socket of the service manager is no other.
func TestAnnouncedInherited(t *testing.T) {
	var out bytes.Buffer // the loop's until the end
	m, ready := newManager(t), make(chan struct{})
	in := systemd.Inherited{Activated: true, Sockets: []systemd.Socket{
		{FD: m.dup(t), Name: "e", Family: unix.AF_UNIX, Type: unix.SOCK_STREAM, Addr: m.path},
	}}
	cfg := parse(t, "[service.e]\nkind='echo'\nlisten=['"+m.path+"']\naccept_proxy=['unix']\ndeny=['192.0.2.9']\n")
	d, err := New(cfg, Env{Log: slog.New(slog.NewTextHandler(&out, nil)), Managed: true, Ready: func() { close(ready) }, Inherited: in})
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, d)
	<-ready
	c := talk(t, m.path)
	c.say(string(proxyproto.V2(netip.MustParseAddrPort("192.0.2.8:1"), announcedTo)) + "x")
	c.hears("x")
	c = talk(t, m.path)
	c.say(string(proxyproto.V2(announcedFrom, announcedTo)))
	c.hearsEnd()
	r.stop(t)
	wantLine(t, &out, "connection refused", "reason=address", "listener="+m.path, "peer=192.0.2.9:4000")
}
