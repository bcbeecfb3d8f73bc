// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"encoding/json"
	"net"
	"path/filepath"
	"sync"
	"testing"

	"penstock/daemon/internal/control"
	"penstock/daemon/internal/view"
)

// A playedDaemon answers at a control socket of the test, and speaks when a test says so.
type playedDaemon struct {
	path      string
	published chan control.Publication
	told      chan string
	present   chan control.Presence

	mu       sync.Mutex
	listener net.Listener
	conns    map[net.Conn]bool
	joins    map[string][]net.Conn // by service
	watches  []net.Conn
	asked    []control.Joining
	feeds    map[string]*control.Joined // what Join tells: history, last
	refuse   string                     // the reason for which Publish takes nothing
	source   string                     // the state of all devices
	served   sync.WaitGroup
}

func playDaemon(t *testing.T) *playedDaemon {
	t.Helper()
	d := &playedDaemon{
		path: filepath.Join(t.TempDir(), "control"), published: make(chan control.Publication, 1000), told: make(chan string, 1000),
		present: make(chan control.Presence, 1000), conns: map[net.Conn]bool{}, joins: map[string][]net.Conn{},
		feeds: map[string]*control.Joined{}, source: "up",
	}
	d.listen(t)
	t.Cleanup(d.kill)
	return d
}

func (d *playedDaemon) listen(t *testing.T) {
	t.Helper()
	l, err := net.Listen("unix", d.path)
	if err != nil {
		t.Fatal(err)
	}
	d.set(func() { d.listener = l })
	d.served.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			d.set(func() { d.conns[c] = true })
			d.served.Go(func() { d.serve(c) })
		}
	})
}

// kill ends the process.
func (d *playedDaemon) kill() {
	d.set(func() {
		_ = d.listener.Close()
		for c := range d.conns {
			_ = c.Close()
		}
		d.joins, d.watches = map[string][]net.Conn{}, nil
	})
	d.served.Wait()
}

func (d *playedDaemon) set(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
}

func (d *playedDaemon) serve(c net.Conn) {
	defer func() {
		_ = c.Close()
		d.set(func() { delete(d.conns, c) })
	}()
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
		d.mu.Lock()
		reply := d.answer(c, call)
		text, err := reply.Encode()
		if err == nil {
			_, err = c.Write(text)
		}
		d.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (d *playedDaemon) answer(c net.Conn, call control.Call) control.Reply {
	var told any = struct{}{}
	more := false
	switch call.Method {
	case control.Interface + ".Join":
		var in control.Joining
		_ = json.Unmarshal(call.Parameters, &in)
		d.asked = append(d.asked, in)
		d.joins[in.Service] = append(d.joins[in.Service], c)
		f := d.feed(in.Service)
		first := *f
		first.Messages = []control.Message{}
		for _, m := range f.Messages {
			if in.After != nil && (m.Number > *in.After || in.Series != f.Series) {
				first.Messages = append(first.Messages, m)
			}
		}
		told, more = first, true
	case control.Interface + ".Watch":
		d.watches = append(d.watches, c)
		told, more = control.Events{Events: []control.Event{}}, true
	case control.Interface + ".Services":
		told = control.Services{Services: []view.Service{{Name: "meter", Kind: "bridge", Source: &view.Source{State: d.source}}}}
	case control.Interface + ".Publish":
		var in control.Publication
		_ = json.Unmarshal(call.Parameters, &in)
		if d.refuse != "" {
			return control.Refused(d.refuse).Reply()
		}
		d.published <- in
		told = control.Published{}
	case control.Interface + ".Tell":
		var in telling
		_ = json.Unmarshal(call.Parameters, &in)
		d.told <- in.State
	case control.Interface + ".Present":
		var in control.Presence
		_ = json.Unmarshal(call.Parameters, &in)
		d.present <- in
	default:
		return control.MethodNotFound(call.Method).Reply()
	}
	r, err := control.NewReply(told, more)
	if err != nil {
		panic(err)
	}
	return r
}

func (d *playedDaemon) feed(service string) *control.Joined {
	if d.feeds[service] == nil {
		d.feeds[service] = &control.Joined{Series: "5e", Messages: []control.Message{}}
	}
	return d.feeds[service]
}

// says has a service say something to all its clients, also to those who come later.
func (d *playedDaemon) says(service string, m control.Message) {
	d.set(func() {
		f := d.feed(service)
		if m.Origin == "" {
			m.Origin = "client"
		}
		if m.Origin != "join" && m.Origin != "leave" {
			f.Last++
			m.Number = f.Last
			f.Messages = append(f.Messages, m)
		}
		r, err := control.NewReply(control.Joined{Series: f.Series, Last: f.Last, Messages: []control.Message{m}}, true)
		if err != nil {
			panic(err)
		}
		text, err := r.Encode()
		if err != nil {
			panic(err)
		}
		for _, c := range d.joins[service] {
			_, _ = c.Write(text)
		}
	})
}

// records has the daemon write something to its log about a service.
func (d *playedDaemon) records(service string) {
	d.set(func() {
		r, _ := control.NewReply(control.Events{Events: []control.Event{{Fields: map[string]string{"service": service}}}}, true)
		text, _ := r.Encode()
		for _, c := range d.watches {
			_, _ = c.Write(text)
		}
	})
}

// line returns a message of a client.
func line(text string) control.Message { return control.Message{Data: &text} }
