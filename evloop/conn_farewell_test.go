// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"errors"
	"io"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Disconnect resets a peer that owes too much.
func TestLoopDisconnectResets(t *testing.T) { eachBackend(t, disconnectResets) }

func disconnectResets(r *rig) {
	c, p := r.tcp()
	r.stick(c)
	c.SetOptions(&Options{Queue: 10_000, Overflow: Disconnect})
	refused := false
	r.do(func() {
		for range 100 {
			refused = !c.Write(make([]byte, 1000)) || refused
		}
	})
	if !refused {
		r.Error("every message was taken")
	}
	r.ends(c, ErrOverflow)
	if _, err := p.receive(); !errors.Is(err, unix.ECONNRESET) {
		r.Errorf("peer: %v, want ECONNRESET", err)
	}
	if r.of(c).messages == 0 {
		r.Error("no drop was reported")
	}
}

// A farewell follows the message that has begun.
func TestLoopFarewell(t *testing.T) { eachBackend(t, farewell) }

func farewell(r *rig) {
	c, p := r.unix()
	c.SetOptions(&Options{Queue: 40_000, Overflow: Disconnect, Farewell: []byte("bye\n"), FarewellTimeout: patience})
	begun := frame(1, 30_000)
	unix.SetsockoptInt(c.FD(), unix.SOL_SOCKET, unix.SO_SNDBUF, 4096)
	r.do(func() { c.Write(begun) })
	r.do(func() {
		for i := range 3 {
			c.Send(NewMessage(frame(2+i, 10_000)))
		}
	})
	if c.BytesOut() == 0 || c.BytesOut() >= uint64(len(begun)) {
		r.Fatalf("%d of %d bytes went out; the test needs a part", c.BytesOut(), len(begun))
	}
	r.gets(p, append(begun, "bye\n"...))
	r.until("FIN", func() bool { return c.state == stateLingering })
	if _, err := p.receive(); err != io.EOF {
		r.Errorf("peer: %v, want EOF", err)
	}
	p.close()
	r.ends(c, ErrOverflow)
}

// A farewell that is not read ends in time.
func TestLoopFarewellUnread(t *testing.T) { eachBackend(t, farewellUnread) }

func farewellUnread(r *rig) {
	c, _ := r.unix()
	r.stick(c)
	c.SetOptions(&Options{Queue: 1000, Overflow: Disconnect, Farewell: []byte("bye\n"), FarewellTimeout: time.Millisecond})
	r.do(func() {
		for range 20 {
			c.Write(make([]byte, 100))
		}
	})
	r.ends(c, ErrOverflow)
}
