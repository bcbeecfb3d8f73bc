// SPDX-License-Identifier: Apache-2.0

package service

import (
	"net"
	"strings"
	"testing"

	"penstock/daemon/internal/record"
	"penstock/evloop"
	"penstock/evloop/evlooptest"
)

// A half whose other half does not come along from the former process is ended, and two
// halves that come are not.
func TestProxyHalves(t *testing.T) {
	var client, backend record.Writer
	client.Bool(true)
	client.Bool(false)
	client.Bool(false)
	client.Number(0)
	backend.Number(7)
	for _, come := range []string{"client", "backend", "client backend", "backend client"} {
		t.Run(come, func(t *testing.T) {
			r := serve(t, to("", "/nonexistent"))
			p := r.svc.(*proxy)
			near, clientEnd := evlooptest.Pair(t, "tcp")
			distant, backendEnd := evlooptest.Pair(t, "tcp")
			load := map[string]func() error{
				"client": func() error {
					c, err := r.loop.Add(near, mute{}, &Session{ID: 7})
					if err != nil {
						return err
					}
					return p.LoadConn(c, client)
				},
				"backend": func() error {
					b, err := r.loop.Add(distant, far{p}, &pair{})
					if err != nil {
						return err
					}
					return far{p}.Restored(b, backend)
				},
			}
			r.do(func() {
				for _, half := range strings.Fields(come) {
					if err := load[half](); err != nil {
						t.Error(err)
					}
				}
				p.Start()
			})
			r.until("both are settled", func() bool { return len(p.halves) == 0 })
			switch come { // what did not come is not the loop's
			case "client":
				closeFD(distant)
			case "backend":
				closeFD(near)
			}
			for _, end := range map[string]net.Conn{"client": clientEnd, "backend": backendEnd} {
				if len(strings.Fields(come)) == 2 {
					break
				}
				if (come == "client") == (end == clientEnd) {
					if n, err := end.Read(make([]byte, 1)); n > 0 || err == nil {
						t.Errorf("read %d bytes, %v; want the end of a half", n, err)
					}
				}
			}
			if len(strings.Fields(come)) == 2 {
				r.do(func() {
					for c := range r.loop.Conns() {
						if c.Closing() {
							t.Error("a half of a whole pair was ended")
						}
					}
				})
			}
		})
	}
}

// A second connection for one client is no record of ours.
func TestProxyTwoBackends(t *testing.T) {
	r := serve(t, to("", "/nonexistent"))
	p := r.svc.(*proxy)
	var w record.Writer
	w.Number(7)
	r.do(func() {
		for i, want := range []error{nil, record.ErrDamaged} {
			fd, _ := evlooptest.Pair(t, "unix")
			b, err := r.loop.Add(fd, mute{}, &pair{})
			if err != nil {
				t.Error(err)
				return
			}
			if err := (far{p}).Restored(b, w); err != want {
				t.Errorf("%d: %v, want %v", i, err, want)
			}
		}
	})
}

var _ evloop.Restorer = far{}
