// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"testing"

	"penstock/daemon/internal/view"
)

// TestSources: what counts as one source, and that the books are balanced.
func TestSources(t *testing.T) {
	same := [][2]view.Peer{
		{tcpPeer("192.0.2.1:1000"), tcpPeer("192.0.2.1:2000")},                  // ports
		{tcpPeer("[2001:db8:1:2:3::1]:1"), tcpPeer("[2001:db8:1:2:ffff::9]:1")}, // one /64 is one host
		{tcpPeer("[fe80::1%2]:1"), tcpPeer("[fe80::1%2]:2")},                    // one neighbour
		{tcpPeer("[::ffff:192.0.2.1]:1"), tcpPeer("192.0.2.1:2")},               // one client of two listeners
		{view.Peer{UID: 1000, PID: 1}, view.Peer{UID: 1000, PID: 2}},            // processes of one uid
	}
	for _, p := range same {
		s := newSources()
		s.add(p[0])
		if got := s.count(p[1]); got != 1 {
			t.Errorf("count(%v) = %d after %v came, want 1", p[1], got, p[0])
		}
		s.remove(p[1])
		if len(s.conns) != 0 {
			t.Errorf("%v is remembered after it left", p[0])
		}
	}
	different := []view.Peer{
		tcpPeer("192.0.2.1:1"), tcpPeer("192.0.2.2:1"), tcpPeer("[2001:db8:1:2::1]:1"), tcpPeer("[2001:db8:1:3::1]:1"),
		tcpPeer("[::1]:1"), tcpPeer("0.0.0.1:1"),
		tcpPeer("[fe80::1%2]:1"), tcpPeer("[fe80::2%2]:1"), tcpPeer("[fe80::1%3]:1"), // neighbours on two links
		tcpPeer("[fd00:1:2:3::1]:1"), tcpPeer("[fd00:1:2:3::2]:1"),
		{UID: 0},
		{UID: 1},
		{UID: 65534},
	}
	keys := map[source]view.Peer{}
	for _, p := range different {
		if was, ok := keys[sourceOf(p)]; ok {
			t.Errorf("%v and %v count as one source", was, p)
		}
		keys[sourceOf(p)] = p
	}
}

// TestShare: one address gets what limits.per_source says, and never all places.
func TestShare(t *testing.T) {
	address, user := tcpPeer("192.0.2.1:1"), view.Peer{UID: 1000}
	for _, tt := range []struct {
		places, perSource int
		peer              view.Peer
		want              int
	}{
		{4096, 64, address, 64},
		{4096, 64, user, 64},
		{4096, 0, address, 3840},
		{4096, 0, user, 4096},
		{4096, 5000, address, 3840},
		{64, 64, address, 60},
		{3, 64, address, 2},
		{2, 0, address, 1},
		{1, 0, address, 1}, // there is no place for another anyway
	} {
		d := &Daemon{places: tt.places, cfg: parse(t, "[service.a]\nkind='echo'\nlisten=['/run/a']\n")}
		d.cfg.Limits.PerSource = tt.perSource
		if got := d.share(tt.peer); got != tt.want {
			t.Errorf("%d places, per_source %d, %v: share %d, want %d", tt.places, tt.perSource, tt.peer, got, tt.want)
		}
	}
}

// TestPerSourceOfProcess: [limits] bounds what one source has of all services
// together, the key of a service what it has of that one.
func TestPerSourceOfProcess(t *testing.T) {
	dir := t.TempDir()
	text := "[limits]\nper_source = 3\n[service.own]\nkind = 'echo'\nper_source = 1\nlisten = ['" + dir + "/own']\n"
	for _, name := range []string{"a", "b", "c"} {
		text += fmt.Sprintf("[service.%s]\nkind = 'echo'\nlisten = ['%s/%[1]s']\n", name, dir)
	}
	r := runDaemon(t, parse(t, text))
	defer r.stop(t)
	open := func(name string) (net.Conn, bool) {
		c, err := net.Dial("unix", filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, "x") // one that is refused may be closed already
		n, _ := c.Read(make([]byte, 1))
		return c, n == 1
	}
	var last net.Conn
	for _, step := range []struct {
		service string
		want    bool
	}{
		{"own", true},
		{"own", false}, // its own bound
		{"a", true},
		{"b", true},
		{"c", false}, // the process's
		{"a", false},
	} {
		c, got := open(step.service)
		defer c.Close()
		if got != step.want {
			t.Errorf("%s: admitted %v, want %v", step.service, got, step.want)
		}
		if got {
			last = c
		}
	}
	last.Close()
	if c, got := open("c"); !got {
		t.Error("refused although a place was given back")
	} else {
		c.Close()
	}
}
