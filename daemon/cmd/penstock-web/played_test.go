// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/control"
	"penstock/daemon/internal/view"
)

// A played daemon answers at a control socket of the test.
type played struct {
	path  string
	calls atomic.Int64
	log   chan control.Events // for who watches

	mu       sync.Mutex
	status   control.Status
	services []view.Service
	conns    []view.Conn
	past     []control.Event               // of the log
	refuse   string                        // the reason for which Connect lets nobody in
	client   func(peer string, c net.Conn) // what a client of a service meets
}

func play(t *testing.T) *played {
	t.Helper()
	p := &played{
		path:   filepath.Join(t.TempDir(), "control"),
		log:    make(chan control.Events),
		status: control.Status{Version: "7.8", PID: 4711, Phase: "ready", Limit: 4096, Services: 2, Connections: 1},
		services: []view.Service{
			{Name: "lobby", Kind: "room", Clients: 1, Most: 3, Accepted: 9, Bytes: view.Traffic{In: 2048, Out: 4096}, Refused: map[string]uint64{"per_source": 2}, Listeners: []view.Listener{{Address: "127.0.0.1:7000"}}},
			{Name: "gps", Kind: "bridge", Source: &view.Source{Name: "/dev/ttyUSB0", State: "up", Overrun: 3}},
		},
		conns: []view.Conn{{ID: 7, Service: "lobby", Traffic: view.Traffic{In: 10, Out: 20}}},
	}
	l, err := net.Listen("unix", p.path)
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			served.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		served.Wait()
	})
	return p
}

// set changes what is told.
func (p *played) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

func (p *played) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		b, err := in.ReadBytes(0)
		if err != nil {
			return
		}
		call, err := control.ParseCall(b[:len(b)-1])
		if err != nil {
			return
		}
		p.calls.Add(1)
		if call.Method == control.Interface+".Watch" {
			p.tell(c)
			return
		}
		p.mu.Lock()
		reply, client := p.answer(call), p.client
		p.mu.Unlock()
		text, err := reply.Encode()
		if err != nil {
			return
		}
		if _, err := c.Write(text); err != nil {
			return
		}
		if call.Upgrade && reply.Error == "" {
			var target control.Target
			_ = json.Unmarshal(call.Parameters, &target)
			client(target.Peer, c)
			return
		}
	}
}

// tell is Watch: it tells the log until the client goes, or is told that records were
// missed and no more.
func (p *played) tell(c net.Conn) {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = io.Copy(io.Discard, c)
	}()
	defer func() {
		_ = c.Close()
		<-gone
	}()
	p.mu.Lock()
	next := control.Events{Events: p.past}
	p.mu.Unlock()
	for {
		r, err := control.NewReply(next, true)
		if err != nil {
			panic(err)
		}
		text, err := r.Encode()
		if err != nil {
			panic(err)
		}
		if _, err := c.Write(text); err != nil || next.Missed > 0 {
			return
		}
		select {
		case next = <-p.log:
		case <-gone:
			return
		}
	}
}

func (p *played) answer(call control.Call) control.Reply {
	var told any
	switch call.Method {
	case control.Interface + ".Status":
		told = p.status
	case control.Interface + ".Services":
		told = control.Services{Services: p.services}
	case control.Interface + ".List":
		told = control.Connections{Connections: p.conns}
	case control.Interface + ".Connect":
		if p.refuse != "" {
			return control.Refused(p.refuse).Reply()
		}
		told = struct{}{}
	default:
		return control.MethodNotFound(call.Method).Reply()
	}
	r, err := control.NewReply(told, false)
	if err != nil {
		panic(err)
	}
	return r
}

// at is a daemon that runs.
func at(path string) source {
	return source{func() string { return path }, func(string) bool { return false }}
}

const lobbyFile = `
[service.lobby]
kind = "room"
listen = ["127.0.0.1:7000"]
[service.gps]
kind = "bridge"
device = "/dev/ttyUSB0"
listen = ["127.0.0.1:7001"]
[web]
`

// A rig is a server in front of a played daemon.
type rig struct {
	*httptest.Server
	*server
	daemon *played
}

// newRig serves as text says, which is appended to lobbyFile.
func newRig(t *testing.T, text string, pass *password) *rig {
	t.Helper()
	cfg, err := config.Parse("t.toml", []byte(lobbyFile+text))
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{daemon: play(t)}
	r.server = newServer(cfg, pass, at(r.daemon.path), noLog(), 0)
	r.Server = httptest.NewUnstartedServer(r.server.http.Handler)
	r.Config.ConnContext, r.Config.ConnState = withPeer, nil
	r.Start()
	t.Cleanup(func() {
		r.end()
		r.Server.CloseClientConnections()
		r.Server.Close()
		r.site.lasting.Wait()
		r.site.feed.end()
	})
	return r
}

// get asks for path, with what change does to the request.
func (r *rig) get(t *testing.T, path string, change func(*http.Request)) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(req)
	}
	resp, err := r.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}
