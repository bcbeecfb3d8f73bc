// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"penstock/daemon/internal/control"
	"penstock/daemon/internal/service"
	"penstock/daemon/internal/view"
	"penstock/evloop/evlooptest"
)

// eachControlled runs test on both back ends with a daemon that has a control socket and
// can be handed over. DIR in text is a folder of the test.
func eachControlled(t *testing.T, text string, test func(r *controlled)) {
	for _, backend := range []string{"epoll", "io_uring"} {
		t.Run(backend, func(t *testing.T) {
			dir := t.TempDir()
			text := strings.ReplaceAll("[loop]\nbackend = \""+backend+"\"\n"+text, "DIR", dir)
			test(goOnControlled(t, dir, text))
		})
	}
}

func goOnControlled(t testing.TB, dir, text string, queues ...int) *controlled {
	t.Helper()
	path, ready := filepath.Join(dir, "control"), make(chan struct{})
	d, err := New(parse(t, text), Env{
		Log: slog.New(slog.DiscardHandler), Control: path, Ready: func() { close(ready) },
		Queues: queues, MayExec: func() error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	r := &controlled{run(t, d), path, dir}
	<-ready
	return r
}

// next has another process, with the same text or other keys, go on with the connections.
func (r *controlled) next(text string) *controlled {
	t := r.t.(*testing.T)
	t.Helper()
	queue := r.leave(t)
	return goOnControlled(t, r.dir, strings.ReplaceAll(text, "DIR", r.dir), queue)
}

// connect returns the connection of a client by Connect.
func (r *controlled) connect(service, peer string) talker {
	r.t.Helper()
	c, err := r.dial().Connect(service, peer)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := c.SetDeadline(time.Now().Add(evlooptest.Patience)); err != nil {
		r.t.Fatal(err)
	}
	return talker{addressless{c}, r.t}
}

// An addressless is a net.Conn but for addresses, which nobody asks for.
type addressless struct{ *control.Upgraded }

func (addressless) LocalAddr() net.Addr  { return nil }
func (addressless) RemoteAddr() net.Addr { return nil }

const announcedServices = `
[service.e]
kind = "echo"
listen = ["DIR/e"]
allow = ["192.0.2.0/24"]
deny = ["192.0.2.66"]
max_connections = 3
per_source = 2
idle_timeout = "0s"
drain_timeout = "10ms"
[service.c]
kind = "chargen"
drain_timeout = "10ms"
listen = ["DIR/c"]
[service.u]
kind = "echo"
listen = ["DIR/u"]
allow_uid = [12345]
[service.x]
kind = "exec"
command = ["/bin/cat"]
io = "socket"
listen = ["DIR/x"]
`

// TestConnect: a control connection becomes that of a client with the announced address,
// which passes the checks of the service, is counted as a client and as nothing else, and
// without the bytes that were the control socket's.
func TestConnect(t *testing.T) {
	eachControlled(t, announcedServices, func(r *controlled) {
		defer r.stop(r.t)
		c := r.connect("e", "[::ffff:192.0.2.1]:4000")
		c.say("hello")
		c.hears("hello")
		all, _ := listClients(r.t, r.dial(), "e")
		want := tcpPeer("192.0.2.1:4000")
		if len(all) != 1 || all[0].Peer != want || all[0].Traffic != (view.Traffic{In: 5, Out: 5}) {
			r.t.Errorf("the client is listed as %+v", all)
		}
		r.connect("e", "192.0.2.1:4001")
		for _, tt := range []struct {
			service, peer string
			want          *control.Error
		}{
			{"e", "192.0.2.1:4002", control.Refused("per_source")},
			{"e", "192.0.2.66:1", control.Refused("address")},
			{"e", "198.51.100.1:1", control.Refused("address")},
			{"u", "", control.Refused("uid")},
			{"x", "192.0.2.1:1", control.Refused(`the program needs a connection of its own: io = "socket"`)},
			{"nobody", "", control.NoSuchService("nobody")},
			{"e", "192.0.2.1", control.InvalidParameter("peer")},
			{"e", "[fe80::1%a b]:1", control.InvalidParameter("peer")},
		} {
			caller := r.dial()
			if _, err := caller.Connect(tt.service, tt.peer); err == nil || err.Error() != tt.want.Error() {
				r.t.Errorf("Connect(%s, %s): %v, want %v", tt.service, tt.peer, err, tt.want)
			}
			if err := caller.Call(control.Interface+".Status", nil, nil); err != nil {
				r.t.Errorf("after it was refused, a caller hears %v", err)
			}
			_ = caller.Close()
		}
		r.connect("e", "") // the caller itself
		if _, err := r.dial().Connect("e", "192.0.2.3:1"); err == nil || !errors.Is(err, control.Refused("")) {
			r.t.Errorf("one more than max_connections: %v", err)
		}
		if err := r.dial().Call(control.Interface+".Connect", control.Target{Service: "e"}, nil); !errors.Is(err, control.ErrExpectedUpgrade) {
			r.t.Errorf("Connect without upgrade: %v", err)
		}
		r.do(func() {
			ep := r.endpoints["e"]
			if ep.conns != 3 || ep.accepted != 3 || ep.refused["per_source"] != 1 || ep.refused["address"] != 2 || ep.refused["max_connections"] != 1 {
				r.t.Errorf("%d clients of %d, refused %v", ep.conns, ep.accepted, ep.refused)
			}
		})
		_ = c.Close()
		r.until("it has left", func() bool {
			return r.endpoints["e"].conns == 2 && r.endpoints["e"].closed == view.Traffic{In: 5, Out: 5}
		})
	})
}

// TestConnectTold: whoever hands a client on hears why it is not let in, and the log and the
// counters have that client, and not the caller. A drained service lets nobody in by this
// door either, and lets in who comes after.
func TestConnectTold(t *testing.T) {
	eachControlled(t, announcedServices, func(r *controlled) {
		defer r.stop(r.t)
		log, _, _ := stream1[control.Events](r, "Watch", control.Watching{Service: "e"})
		connect := func(peer, want string) {
			r.t.Helper()
			c, err := r.dial().Connect("e", peer)
			if got := fmt.Sprint(err); got != want {
				r.t.Errorf("Connect(%s): %s, want %s", peer, got, want)
			}
			if err == nil {
				r.t.Cleanup(func() { _ = c.Close() })
			}
		}
		refused := func(reason string) string { return control.Refused(reason).Error() }
		connect("192.0.2.66:1", refused("address"))
		connect("192.0.2.1:1", "<nil>")
		connect("192.0.2.1:2", "<nil>")
		connect("192.0.2.1:3", refused("per_source"))
		told := map[string]string{}
		for len(told) < 2 {
			for _, e := range next(r.t, log).Events {
				told[e.Fields["peer"]] = e.Message + " " + e.Fields["reason"] + " " + e.Fields["listener"]
			}
		}
		for peer, want := range map[string]string{
			"192.0.2.66:1": "connection refused address penstock.control", "192.0.2.1:3": "connection refused per_source penstock.control",
		} {
			if told[peer] != want {
				r.t.Errorf("of %s the log says %q, want %q", peer, told[peer], want)
			}
		}
		admin := r.dial()
		if err := admin.Call(control.Interface+".Drain", control.Drain{Service: "e"}, nil); err != nil {
			r.t.Fatal(err)
		}
		connect("192.0.2.2:1", refused("the service takes no new clients now"))
		var got control.Services
		if err := admin.Call(control.Interface+".Services", control.ServiceFilter{Service: "e"}, &got); err != nil {
			r.t.Fatal(err)
		}
		if e := got.Services[0]; !e.Drained || e.Clients != 2 || e.Accepted != 2 || !maps.Equal(e.Refused, map[string]uint64{"address": 1, "per_source": 1}) {
			r.t.Errorf("the service is %+v", e)
		}
		if err := admin.Call(control.Interface+".Resume", control.Resume{Service: "e"}, nil); err != nil {
			r.t.Fatal(err)
		}
		connect("192.0.2.2:1", "<nil>")
	})
}

// TestConnectFull: a caller that the process has no place for leaves a silent client its
// place.
func TestConnectFull(t *testing.T) {
	r := runControlled(t, announcedServices)
	defer r.stop(t)
	r.connect("e", "192.0.2.1:1")
	r.connect("e", "192.0.2.1:2")
	var places int
	r.do(func() {
		places, r.places = r.places, 2
		for c := range r.endpoints["e"].connections {
			r.silent = append(r.silent, silent{c, r.endpoints["e"], sourceOf(tcpPeer("192.0.2.1:1")), r.loop.Now(), c.BytesOut()})
			break
		}
	})
	if _, err := r.dial().Connect("e", "192.0.2.1:3"); err == nil || err.Error() != control.Refused("limits.connections").Error() {
		t.Errorf("Connect: %v", err)
	}
	r.do(func() {
		if r.Daemon.clients() != 2 || len(r.silent) != 1 {
			t.Errorf("%d clients are left, %d of them silent", r.Daemon.clients(), len(r.silent))
		}
		r.places, r.silent = places, nil
	})
}

// TestConnectAtOnce: what a caller has sent behind its call is the service's, and what the
// service sends begins at its beginning.
func TestConnectAtOnce(t *testing.T) {
	eachControlled(t, announcedServices, func(r *controlled) {
		defer r.stop(r.t)
		raw := talk(r.t, r.path)
		raw.say(`{"method":"penstock.Control.Connect","parameters":{"service":"e","peer":"192.0.2.1:1"},"upgrade":true}` + "\x00at once")
		raw.hears("{\"parameters\":{}}\x00at once")
		raw.say(" and later")
		raw.hears(" and later")
		if err := raw.Conn.(*net.UnixConn).CloseWrite(); err != nil {
			r.t.Fatal(err)
		}
		raw.hearsEnd()
		r.connect("c", "192.0.2.1:1").hears(" !\"#$%&'()*")
	})
}

// TestConnectLeavesNothing: whoever comes by Connect takes no place of the control socket,
// and at the end nothing is counted for anybody.
func TestConnectLeavesNothing(t *testing.T) {
	before := evlooptest.Descriptors()
	eachControlled(t, announcedServices, func(r *controlled) {
		var beside int
		r.do(func() { beside = r.beside })
		c := r.connect("e", "192.0.2.1:1")
		r.do(func() {
			if n := r.control.clients(); n != 0 || r.beside != beside || r.Daemon.clients() != 1 {
				r.t.Errorf("%d clients of the control socket, %d beside, %d clients", n, r.beside-beside, r.Daemon.clients())
			}
		})
		_ = c.Close()
		r.until("nobody is there", func() bool { return r.Daemon.clients() == 0 && len(r.sources.conns) == 0 })
		r.stop(r.t)
	})
	evlooptest.SameDescriptors(t, before)
}

// TestConnectRestart: such a client goes on in the next process, twice, as who it is and
// with the count of its bytes.
func TestConnectRestart(t *testing.T) {
	eachControlled(t, announcedServices, func(r *controlled) {
		c := r.connect("e", "192.0.2.1:4000")
		c.say("a")
		c.hears("a")
		text := strings.Replace(announcedServices, "max_connections = 3", "max_connections = 4", 1)
		r = r.next(text)
		r = r.next(text)
		c.say("bc")
		c.hears("bc")
		all, _ := listClients(r.t, r.dial(), "e")
		if len(all) != 1 || all[0].Peer.String() != "192.0.2.1:4000" || all[0].Traffic != (view.Traffic{In: 3, Out: 3}) {
			r.t.Errorf("the client is listed as %+v", all)
		}
		r.do(func() {
			for c := range r.endpoints["e"].connections {
				if s := service.SessionOf(c); s.Other().UID != uint32(os.Getuid()) || s.IsTCP() {
					r.t.Errorf("the other end is %v", s.Other())
				}
			}
		})
		_ = c.Close()
		r.stop(r.t)
	})
}

// TestConnectStopping: at the end of the process such a client is finished like any other.
func TestConnectStopping(t *testing.T) {
	r := runControlled(t, announcedServices)
	c := r.connect("e", "192.0.2.1:1")
	c.say("x")
	c.hears("x")
	r.do(func() { r.advance(terminate) })
	if b, err := io.ReadAll(c); len(b) > 0 || err != nil {
		t.Errorf("at the end came %q, %v", b, err)
	}
	if err := <-r.done; err != nil {
		t.Error(err)
	}
}

// FuzzConnect: no parameters make a client whose peer the file refuses, and every call
// that is read is answered once.
func FuzzConnect(f *testing.F) {
	for _, s := range []string{
		`{"service":"e","peer":"192.0.2.1:1"}`, `{"service":"e"}`, `{"peer":"[fe80::1%eth0]:1"}`,
		`{"service":1}`, `{"service":"e","peer":"198.51.100.1:70000"}`, `{"service":"u","peer":null}`, `null`, `{}`,
	} {
		f.Add([]byte(s))
	}
	fuzzCalls(f, "Connect", true, func(t *testing.T, d *Daemon) {
		for _, ep := range d.all() {
			for c := range ep.connections {
				p := service.SessionOf(c).Peer()
				if ep.admitsAddress(c.FD(), p) && (p.Addr.IsValid() || ep.conf.AdmitsUID(p.UID)) {
					continue
				}
				t.Errorf("%v is a client of %s", p, ep.conf.Name)
			}
		}
	})
}

// fuzzCalls makes calls of a method with the bytes of the fuzzer as parameters. Each
// gets one reply or ends the connection; check looks at what has become of the daemon.
func fuzzCalls(f *testing.F, name string, upgrade bool, check func(t *testing.T, d *Daemon)) {
	dir := f.TempDir()
	path, ready := filepath.Join(dir, "control"), make(chan struct{})
	text := strings.ReplaceAll("[limits]\nper_source = 0\n"+announcedServices, "DIR", dir)
	d, err := New(parse(f, text), Env{Log: slog.New(slog.DiscardHandler), Control: path, Ready: func() { close(ready) }})
	if err != nil {
		f.Fatal(err)
	}
	r := run(f, d)
	<-ready
	f.Cleanup(func() { r.stop(f) })
	f.Fuzz(func(t *testing.T, parameters []byte) {
		if len(parameters) > control.LongestCall-200 || bytes.IndexByte(parameters, 0) >= 0 {
			return
		}
		c := talk(t, path)
		defer c.Close()
		flags := ""
		if upgrade {
			flags = `,"upgrade":true`
		}
		c.say(`{"method":"penstock.Control.` + name + `","parameters":` + string(parameters) + flags + "}\x00")
		if err := c.Conn.(*net.UnixConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(c)
		if i := bytes.IndexByte(b, 0); i >= 0 {
			if _, err := control.ParseReply(b[:i]); err != nil {
				t.Errorf("%q is answered with %q", parameters, b)
			}
		}
		evlooptest.Do(t, d.loop, func() { check(t, d) })
	})
}
