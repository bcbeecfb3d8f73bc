// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/control"
	"penstock/daemon/internal/view"
	"penstock/evloop/evlooptest"
)

// A controlled is a running daemon with a control socket.
type controlled struct {
	*running
	path string // of the control socket
	dir  string
}

// runControlled runs text, in which DIR is a folder of the test.
func runControlled(t testing.TB, text string) *controlled {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "control")
	ready := make(chan struct{})
	env := Env{Version: "7.8", Log: slog.New(slog.DiscardHandler), Control: path, Ready: func() { close(ready) }}
	d, err := New(parse(t, strings.ReplaceAll(text, "DIR", dir)), env)
	if err != nil {
		t.Fatal(err)
	}
	r := &controlled{run(t, d), path, dir}
	<-ready
	return r
}

func (r *controlled) dial() *control.Client {
	r.t.Helper()
	c, err := control.Dial(r.path, evlooptest.Patience)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	return c
}

// clients connects n clients to a socket and waits until all are in.
func (r *controlled) clients(n int, socket string) (conns []net.Conn) {
	r.t.Helper()
	before := 0
	r.do(func() { before = r.Daemon.clients() })
	for range n {
		c, err := net.Dial("unix", filepath.Join(r.dir, socket))
		if err != nil {
			r.t.Fatal(err)
		}
		r.t.Cleanup(func() { _ = c.Close() })
		conns = append(conns, c)
	}
	r.until("all are in", func() bool { return r.Daemon.clients() == before+n })
	return conns
}

// listClients returns all that List tells, and in how many replies.
func listClients(t testing.TB, c *control.Client, service string) (all []view.Conn, replies int) {
	t.Helper()
	err := c.Stream(control.Interface+".List", control.ServiceFilter{Service: service}, evlooptest.Patience, func(p json.RawMessage) error {
		var got control.Connections
		replies++
		err := json.Unmarshal(p, &got)
		all = append(all, got.Connections...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all, replies
}

const twoServices = `
[limits]
per_source = 0
[service.alpha]
kind = "echo"
listen = ["DIR/a.sock"]
[service.beta]
kind = "echo"
listen = ["DIR/b.sock"]
max_connections = 1
idle_timeout = "0s"
`

// TestControl: what the daemon counts can be asked for, and what is not there is an error
// by name.
func TestControl(t *testing.T) {
	r := runControlled(t, twoServices)
	defer r.stop(t)
	a := r.clients(2, "a.sock")
	r.clients(1, "b.sock")
	if b, err := net.Dial("unix", filepath.Join(r.dir, "b.sock")); err == nil {
		_, _ = io.ReadAll(b) // refused
		_ = b.Close()
	}
	if _, err := a[0].Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(a[0], make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	c := r.dial()
	var st control.Status
	if err := c.Call(control.Interface+".Status", nil, &st); err != nil {
		t.Fatal(err)
	}
	if st.Version != "7.8" || st.PID != os.Getpid() || st.Phase != "ready" || st.Services != 2 || st.Connections != 3 || st.Limit != r.places || st.Uptime <= 0 {
		t.Errorf("Status = %+v", st)
	}
	var got control.Services
	if err := c.Call(control.Interface+".Services", control.ServiceFilter{Service: "alpha"}, &got); err != nil || len(got.Services) != 1 {
		t.Fatalf("Services = %+v, %v", got, err)
	}
	if s := got.Services[0]; s.Clients != 2 || s.Most != 2 || s.Accepted != 2 || s.Bytes != (view.Traffic{In: 5, Out: 5}) || s.Listeners[0].Address != r.dir+"/a.sock" {
		t.Errorf("alpha is %+v", s)
	}
	if err := c.Call(control.Interface+".Services", control.ServiceFilter{Service: "beta"}, &got); err != nil || got.Services[0].Refused["max_connections"] != 1 {
		t.Errorf("beta is %+v, %v", got, err)
	}
	all, _ := listClients(t, c, "alpha")
	if len(all) != 2 || all[0].Service != "alpha" || all[0].Peer.UID != uint32(os.Getuid()) {
		t.Errorf("List = %+v", all)
	}
	var info control.Info
	if err := c.Call("org.varlink.service.GetInfo", nil, &info); err != nil || !slices.Contains(info.Interfaces, control.Interface) {
		t.Errorf("GetInfo = %+v, %v", info, err)
	}
	var d control.DescriptionReply
	if err := c.Call("org.varlink.service.GetInterfaceDescription", control.InterfaceName{Interface: control.Interface}, &d); err != nil || d.Description != control.Description {
		t.Errorf("GetInterfaceDescription = %q, %v", d.Description, err)
	}
	for _, tt := range []struct {
		method string
		in     any
		want   *control.Error
	}{
		{"Services", control.ServiceFilter{Service: "gamma"}, control.NoSuchService("gamma")},
		{"Services", nil, control.ErrExpectedMore},
		{"List", nil, control.ErrExpectedMore},
		{"Status", map[string]int{"x": 1}, control.InvalidParameter("x")},
		{"Nonsense", nil, control.MethodNotFound(control.Interface + ".Nonsense")},
	} {
		if err := c.Call(control.Interface+"."+tt.method, tt.in, nil); err == nil || err.Error() != tt.want.Error() {
			t.Errorf("%s(%v): %v, want %v", tt.method, tt.in, err, tt.want)
		}
	}
	if err := c.Call("a.b.C", nil, nil); !errors.Is(err, control.InterfaceNotFound("a.b")) {
		t.Errorf("a method of another interface: %v", err)
	}
}

// TestControlRequired: a call that leaves out what the interface requires is answered with
// the name of that.
func TestControlRequired(t *testing.T) {
	r := runControlled(t, twoServices)
	defer r.stop(t)
	method := regexp.MustCompile(`(?m)^method (\w+)\((.*)\) ->`)
	c, tried := r.dial(), 0
	for iface, text := range control.Descriptions {
		for _, m := range method.FindAllStringSubmatch(text, -1) {
			given := map[string]any{}
			for _, field := range strings.Split(m[2], ", ") {
				name, kind, _ := strings.Cut(field, ": ")
				switch {
				case kind == "string":
					given[name] = "x"
				case strings.HasPrefix(kind, "[]"):
					given[name] = []string{}
				case kind != "" && kind[0] != '?':
					t.Fatalf("%s.%s: no value for a %s", iface, m[1], kind)
				}
			}
			for missing := range given {
				for _, null := range []bool{true, false} {
					in := maps.Clone(given)
					if in[missing] = nil; !null {
						delete(in, missing)
					}
					tried++
					err := c.Call(iface+"."+m[1], in, nil)
					if want := control.InvalidParameter(missing); err == nil || err.Error() != want.Error() {
						t.Errorf("%s(%v): %v, want %v", m[1], in, err, want)
					}
				}
			}
		}
	}
	if tried < 20 {
		t.Errorf("%d calls were tried", tried)
	}
}

// TestControlPortions: many clients are listed in portions, one in a turn, and each of
// them once. The same goes for the sums.
func TestControlPortions(t *testing.T) {
	r := runControlled(t, twoServices)
	defer r.stop(t)
	const n = 3*listPortion + 1
	r.clients(n, "a.sock")
	c := r.dial()
	turns := func() (n uint64) {
		r.do(func() { n = r.loop.Stats().Turns })
		return n
	}
	before := turns()
	all, replies := listClients(t, c, "")
	took := turns() - before
	seen := map[uint64]bool{}
	for _, v := range all {
		seen[v.ID] = true
	}
	if len(all) != n || len(seen) != n || replies != 4 || took < 4 {
		t.Errorf("%d clients, %d of them different, in %d replies and %d turns; want %d in 4 and at least 4 turns", len(all), len(seen), replies, took, n)
	}
}

// TestControlTurns: calls of many clients are answered one in a turn, and each client has
// its share: the one that asks once does not wait for one that asks without end.
func TestControlTurns(t *testing.T) {
	r := runControlled(t, twoServices)
	defer r.stop(t)
	greedy, err := net.Dial("unix", r.path)
	if err != nil {
		t.Fatal(err)
	}
	defer greedy.Close()
	const status = `{"method":"penstock.Control.Status"}` + "\x00"
	const many = 500
	go func() { _, _ = io.WriteString(greedy, strings.Repeat(status, many)) }()
	first := make([]byte, 1)
	if _, err := io.ReadFull(greedy, first); err != nil {
		t.Fatal(err)
	}
	if err := r.dial().Call(control.Interface+".Status", nil, nil); err != nil {
		t.Error(err)
	}
	var in, queued int
	r.do(func() {
		for c := range r.loop.Conns() {
			if a, ok := c.State.(*asker); ok && a.peer.PID == int32(os.Getpid()) {
				in, queued = max(in, len(c.Input())), max(queued, c.Queued())
			}
		}
	})
	if in > control.LongestCall || queued > 2*controlOptions.Queue {
		t.Errorf("%d bytes kept and %d queued", in, queued)
	}
	replies := 0
	for buf := make([]byte, 64<<10); replies < many; {
		n, err := greedy.Read(buf)
		replies += strings.Count(string(buf[:n]), "\x00")
		if err != nil {
			t.Fatalf("%v after %d replies", err, replies)
		}
	}
}

// TestControlPlaces: a user has a share of the places, the process has all others, and
// clients of the control socket take none from those of services.
func TestControlPlaces(t *testing.T) {
	for mqtt, share := range map[string]int{"": controlShare, "[service.b]\nkind='room'\nlisten=['DIR/b.sock']\nmqtt={room='b'}\n[mqtt]\nbroker='mqtt://b'\n": controlShare + 3} {
		controlPlaces(t, mqtt, share)
	}
}

func controlPlaces(t *testing.T, mqtt string, share int) {
	r := runControlled(t, "[limits]\nconnections = 1\n[service.a]\nkind='echo'\nlisten=['DIR/a.sock']\n"+mqtt)
	defer r.stop(t)
	r.clients(1, "a.sock")
	for range share {
		if err := r.dial().Call(control.Interface+".Status", nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	want := control.Refused("this user has too many connections to the control socket").Error()
	for range 10 { // whether it is turned away before it calls or after
		if err := r.dial().Call(control.Interface+".Status", nil, nil); err == nil || err.Error() != want {
			t.Errorf("one more than the share of a user: %v", err)
		}
	}
	late := r.dial()
	r.do(func() { r.control.accept() })
	if err := late.Call(control.Interface+".Status", nil, nil); err == nil || err.Error() != want {
		t.Errorf("and turned away before it calls: %v", err)
	}
	r.do(func() {
		if n := r.control.clients(); n != share {
			t.Errorf("%d clients, want %d", n, share)
		}
		if n := r.Daemon.clients(); n != 1 {
			t.Errorf("%d clients of services", n)
		}
	})
}

// TestControlReserve: those who may only look cannot take all places together.
func TestControlReserve(t *testing.T) {
	own := uint32(os.Geteuid())
	for uid, want := range map[uint32]int{0: config.ControlPlaces, own: config.ControlPlaces, own + 1: config.ControlPlaces - controlReserve} {
		if got := placesFor(uid); got != want {
			t.Errorf("uid %d: turned away behind %d others, want %d", uid, got, want)
		}
	}
	if controlShare > config.ControlPlaces-controlReserve {
		t.Error("the reserve is no use to the others")
	}
}

// TestControlAcceptFails: however many come while accept4(2) fails, it is tried again by
// one timer, and then they get in.
func TestControlAcceptFails(t *testing.T) {
	r := runControlled(t, twoServices)
	defer r.stop(t)
	deaf, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(deaf)
	var was int
	r.do(func() {
		was, r.control.sock.FD = r.control.sock.FD, deaf
		before := r.loop.Stats().Timers
		for range 3 {
			r.control.accept()
		}
		if n := r.loop.Stats().Timers - before; n != 1 {
			t.Errorf("%d timers, want 1", n)
		}
	})
	c := r.dial()
	r.do(func() { r.control.sock.FD = was })
	if err := c.Call(control.Interface+".Status", nil, nil); err != nil {
		t.Error(err)
	}
}

// TestControlHostile: bytes that are no call end the connection that they come from, and
// no other.
func TestControlHostile(t *testing.T) {
	r := runControlled(t, twoServices)
	defer r.stop(t)
	good := r.dial()
	for _, text := range []string{
		"\x00", "GET / HTTP/1.1\r\n\r\n\x00", "{}\x00", strings.Repeat("x", control.LongestCall+1),
		strings.Repeat("[", 50000) + "\x00", `{"method":"a.b.C","parameters":` + strings.Repeat("[", 11000) + "\x00",
		`{"method":"penstock.Control.Status","method":"penstock.Control.Status"}` + "\x00",
	} {
		c, err := net.Dial("unix", r.path)
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = io.WriteString(c, text) }()
		if b, _ := io.ReadAll(c); len(b) > 0 {
			t.Errorf("%.40q was answered with %.80q", text, b)
		}
		_ = c.Close()
	}
	if err := good.Call(control.Interface+".Status", nil, nil); err != nil {
		t.Error(err)
	}
}
