// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"net"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/view"
)

// TestSnapshot: what a snapshot says of a running daemon is what its clients have
// done, and a service that was removed is in it for as long as it has clients.
func TestSnapshot(t *testing.T) {
	dir := t.TempDir()
	one := func(name string) string {
		return fmt.Sprintf("[service.%s]\nkind='echo'\nlisten=['%s/%s']\nidle_timeout='0s'\ndrain_timeout='1h'\n", name, dir, name)
	}
	r := runDaemon(t, parse(t, one("a")+one("b")))
	var clients []net.Conn
	for _, name := range []string{"a", "a", "b"} {
		c, err := net.Dial("unix", dir+"/"+name)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		clients = append(clients, c)
	}
	for i, c := range clients { // each of them has been accepted and answered
		text := make([]byte, 10*(i+1))
		if _, err := c.Write(text); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(text); err != nil {
			t.Fatal(err)
		}
	}
	s := r.seen(1)
	if s.Phase != "ready" || s.Clients() != 3 || len(s.Services) != 2 || s.Loop.Accepted != 3 {
		t.Fatalf("%+v", s)
	}
	a, b := s.Services[0], s.Services[1]
	if a.Name != "a" || a.Clients != 2 || len(a.Conns) != 1 || a.Open != (view.Traffic{In: 30, Out: 30}) || a.Closed != (view.Traffic{}) {
		t.Errorf("a: %+v", a)
	}
	if b.Conns[0].Traffic != (view.Traffic{In: 30, Out: 30}) || b.Conns[0].Peer.UID != uint32(unix.Getuid()) || b.Listeners[0].Address != dir+"/b" {
		t.Errorf("b: %+v", b)
	}
	if a.Conns[0].ID == b.Conns[0].ID {
		t.Errorf("two connections have the number %d", a.Conns[0].ID)
	}

	shallow := r.seen(-1)
	if got := shallow.Services[0]; got.Clients != 2 || got.Open != (view.Traffic{}) || got.Conns != nil {
		t.Errorf("without clients: %+v", got)
	}
	cfg := parse(t, one("b"))
	r.do(func() {
		if err := r.putInForce(cfg); err != nil {
			t.Error(err)
		}
	})
	s = r.seen(9)
	if i := slices.IndexFunc(s.Services, func(v view.Service) bool { return v.Name == "a" }); s.InForce() != 1 || i >= 0 && !s.Services[i].Leaving {
		t.Errorf("after a reload: %+v", s.Services)
	}
	r.stop(t)
}

// seen makes a snapshot on the loop; with a negative number without clients.
func (r *running) seen(most int) (s *view.Snapshot) {
	if most < 0 {
		r.do(func() { s = r.snapshot() })
		return s
	}
	made := make(chan *view.Snapshot, 1)
	r.do(func() { r.look(most, func(s *view.Snapshot) { made <- s }) })
	return <-made
}

// TestLookInPortions: the loop is not kept until the kernel was asked about many
// clients, and those that go meanwhile are no trouble.
func TestLookInPortions(t *testing.T) {
	path := t.TempDir() + "/s"
	r := runDaemon(t, parse(t, "[limits]\nper_source=0\n[service.a]\nkind='echo'\nlisten=['"+path+"']\n"))
	const clients = 2*lookPortion + 1
	for range clients {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	r.until("the accept of all", func() bool { return r.clients() == clients })
	made := make(chan *view.Snapshot, 1)
	r.do(func() {
		r.look(clients, func(s *view.Snapshot) { made <- s })
		if len(made) > 0 {
			t.Error("all of it in one turn")
		}
		n := 0
		for c := range r.loop.Conns() {
			if n++; n%2 == 0 {
				c.Abort(nil)
			}
		}
	})
	if s := <-made; s.Clients() != clients || len(s.Services[0].Conns) != clients {
		t.Errorf("%d clients, %d listed, want %d", s.Clients(), len(s.Services[0].Conns), clients)
	}
	r.stop(t)
}

// BenchmarkSnapshot is for how long SIGUSR1 keeps the loop from its clients when
// there are 8,000 of them on TCP: the first turn, and each of those that follow.
func BenchmarkSnapshot(b *testing.B) {
	const clients = 8000
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Max < 2*clients+100 {
		b.Skip("needs more open files than the hard limit allows:", limit.Max)
	}
	limit.Cur = limit.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		b.Fatal(err)
	}
	ln, fd, family := passed(b, "tcp")
	at := ln.Addr().String()
	r := runActivated(b, fmt.Sprintf("[limits]\nconnections=%d\nper_source=0\n[service.echo]\nkind='echo'\nlisten=['%s']\nidle_timeout='0s'\n", 2*clients, at), fd, family, at)
	defer r.stop(b)
	conns := make([]int, clients)
	ap := mustAddress(b, at).AddrPort
	for i := range conns { // descriptors, for the runtime's poller would have its part in the figures
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			err = unix.Connect(fd, &unix.SockaddrInet4{Addr: ap.Addr().As4(), Port: int(ap.Port())})
		}
		if err != nil {
			b.Fatal(err)
		}
		conns[i] = fd
	}
	defer closeFDs(conns)
	r.until("the accept of all", func() bool { return r.clients() == clients })
	r.do(func() {
		further := &look{d: r.Daemon, s: r.snapshot(), then: func(*view.Snapshot) {}}
		further.addClients(dumpConns)
		all := further.left
		for _, tt := range []struct {
			name string
			make func()
		}{
			{"services", func() { r.snapshot() }},
			{"first turn", func() { r.look(dumpConns, func(*view.Snapshot) {}) }},
			{"further turn", func() { further.left = all[:lookPortion+1]; further.askKernel() }},
		} {
			b.Run(tt.name, func(b *testing.B) {
				b.ReportAllocs()
				before := processorTime()
				for b.Loop() {
					tt.make()
				}
				b.ReportMetric(float64(processorTime()-before)/float64(b.N), "cpu-ns/op")
			})
		}
	})
}

// processorTime is what the process has used, which says more than a clock where
// others are at work too.
func processorTime() int64 {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u) // cannot fail for this process
	return u.Utime.Nano() + u.Stime.Nano()
}

func closeFDs(fds []int) {
	for _, fd := range fds {
		closeFD(fd)
	}
}
