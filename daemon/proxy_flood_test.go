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
	data := make([]byte, 24<<20)
	for i := range data {
		data[i] = byte(i>>16) ^ byte(i*7)
	}
	ends := []*net.TCPConn{near.(*net.TCPConn), far.(*net.TCPConn)}
	whole := make(chan error, len(ends))
	moving, goOn := make(chan bool, len(ends)), make(chan bool)
	for i, c := range ends {
		_ = c.SetDeadline(time.Now().Add(evlooptest.Patience))
		go func() {
			_, _ = c.Write(data)
			_ = c.CloseWrite()
		}()
		go func() {
			got, err := io.ReadAll(io.LimitReader(c, int64(len(data)/3)))
			moving <- true
			<-goOn
			rest, end := io.ReadAll(c)
			if got = append(got, rest...); err != nil || end != nil || !bytes.Equal(got, data) {
				err = fmt.Errorf("end %d: %d bytes, %v, %v, equal %t", i, len(got), err, end, bytes.Equal(got, data))
			}
			whole <- err
		}()
	}
	<-moving
	<-moving
	r.do(func() {
		ep := r.endpoints["p"]
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
	})
	r, _ = r.restart(t, cfg)
	close(goOn)
	for range ends {
		if err := <-whole; err != nil {
			t.Error(err)
		}
	}
	r.until("the client has left", func() bool { return r.clients() == 0 })
	r.do(func() {
		if n := r.endpoints["p"].closed; n.In != uint64(len(data)) || n.Out != uint64(len(data)) {
			t.Errorf("%+v are counted, want %d bytes each way", n, len(data))
		}
	})
	r.stop(t)
}
