// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"penstock/daemon/internal/service"
	"penstock/evloop/evlooptest"
)

// TestProxyFlood: much, both ways over TCP, arrives whole and in order with its end behind
// it, also when the process is replaced meanwhile, and a client that is looked at, or whose
// service leaves, is not relayed inside the kernel.
func TestProxyFlood(t *testing.T) {
	for _, backend := range []string{"epoll", "auto"} {
		t.Run(backend, func(t *testing.T) { proxyFlood(t, backend) })
	}
}

func proxyFlood(t *testing.T, backend string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	cfg := parse(t, fmt.Sprintf("[loop]\nbackend='%s'\n[service.p]\nkind='proxy'\nlisten=['%s']\nto=['%s']\n",
		backend, freeAddress(t), ln.Addr()))
	r, _ := runRestartable(t, cfg)
	near, err := net.Dial("tcp", cfg.Services[0].Listen[0].Text)
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	far, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	f := newFlood(near, far)
	<-f.moving
	<-f.moving
	r.do(func() { relaysUnlessLookedAt(t, r.endpoints["p"]) })
	r, _ = r.restart(t, cfg)
	close(f.goOn)
	for range cap(f.whole) {
		if err := <-f.whole; err != nil {
			t.Error(err)
		}
	}
	r.until("the client has left", func() bool { return r.clients() == 0 })
	r.do(func() {
		if n := r.endpoints["p"].closed; n.In != uint64(len(f.data)) || n.Out != uint64(len(f.data)) {
			t.Errorf("%+v are counted, want %d bytes each way", n, len(f.data))
		}
	})
	r.stop(t)
}

// A flood is the same data, sent from each end to the other. Each stops to read after a
// third, says so, and goes on when it may.
type flood struct {
	data   []byte
	moving chan bool
	goOn   chan bool
	whole  chan error // of each end, when all has come
}

func newFlood(ends ...net.Conn) flood {
	f := flood{make([]byte, 24<<20), make(chan bool, len(ends)), make(chan bool), make(chan error, len(ends))}
	for i := range f.data {
		f.data[i] = byte(i>>16) ^ byte(i*7)
	}
	for i, c := range ends {
		_ = c.SetDeadline(time.Now().Add(evlooptest.Patience))
		go func() {
			_, _ = c.Write(f.data)
			_ = c.(*net.TCPConn).CloseWrite()
		}()
		go f.receive(i, c)
	}
	return f
}

// receive compares what comes.
func (f flood) receive(end int, c net.Conn) {
	got, err := io.ReadAll(io.LimitReader(c, int64(len(f.data)/3)))
	f.moving <- true
	<-f.goOn
	rest, last := io.ReadAll(c)
	if got = append(got, rest...); err != nil || last != nil || !bytes.Equal(got, f.data) {
		err = fmt.Errorf("end %d: %d bytes, %v, %v, equal %t", end, len(got), err, last, bytes.Equal(got, f.data))
	}
	f.whole <- err
}

// relaysUnlessLookedAt checks on the loop whether the clients of the endpoint are relayed,
// and leaves it as it was.
func relaysUnlessLookedAt(t *testing.T, ep *endpoint) {
	for c := range ep.connections {
		if ep.Relay(c) == nil {
			t.Error("a client is not relayed")
		}
		ep.taps = []*tapping{{ep: ep, id: service.SessionOf(c).ID + 1}}
		if ep.Relay(c) != nil {
			t.Error("a client is relayed while somebody looks")
		}
		ep.taps, ep.retired = nil, true
		if ep.Relay(c) != nil {
			t.Error("a client is relayed though its service leaves")
		}
		ep.retired = false
	}
}
