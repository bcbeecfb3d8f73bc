// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// The loop as it runs: on a goroutine of its own, with clients that know
// nothing of turns. The race detector has its say here.

// serve runs the loop with an echo behind a TCP port.
func (r *rig) serve() (address string, stop func()) {
	r.onData = func(c *Conn, p []byte) (n int) {
		c.WriteStatic(p)
		return len(p)
	}
	r.onEOF = func(c *Conn) { c.CloseAfterFlush(patience, nil) }
	ln, _ := r.listen(128)
	sa, err := unix.Getsockname(ln.FD())
	if err != nil {
		r.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", sa.(*unix.SockaddrInet4).Port), r.run()
}

// converse sends all of sent, in pieces, while it reads the echo.
func converse(address string, sent []byte, rng *rand.Rand) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	wrote := make(chan error, 1)
	go func() {
		for rest := sent; len(rest) > 0; {
			n := min(len(rest), 1+rng.IntN(20_000))
			if _, err := c.Write(rest[:n]); err != nil {
				wrote <- err
				return
			}
			rest = rest[n:]
		}
		wrote <- c.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if werr := <-wrote; werr != nil {
		return werr
	}
	if err == nil && !bytes.Equal(got, sent) {
		return fmt.Errorf("%d bytes came back, want %d; they agree on the first %d", len(got), len(sent), commonPrefix(got, sent))
	}
	return err
}

// Many clients at once get back what they sent.
func TestLoopServeMany(t *testing.T) { eachBackend(t, serveMany) }

func serveMany(r *rig) {
	address, stop := r.serve()
	var wg sync.WaitGroup
	for i := range uint64(30) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(i, 1))
			sent := make([]byte, 1+rng.IntN(300_000))
			for i := range sent {
				sent[i] = byte(rng.Uint32())
			}
			if err := converse(address, sent, rng); err != nil {
				r.Error(err)
			}
		})
	}
	wg.Wait()
	stop()
}

// A client that does not read harms nobody else.
func TestLoopServeStuck(t *testing.T) { eachBackend(t, serveStuck) }

func serveStuck(r *rig) {
	address, stop := r.serve()
	stuck, err := net.Dial("tcp", address)
	if err != nil {
		r.Fatal(err)
	}
	defer stuck.Close()
	junk, paused := make([]byte, 64<<10), make(chan struct{})
	go func() { // until its own output fills every buffer on the way
		for {
			if _, err := stuck.Write(junk); err != nil {
				close(paused)
				return
			}
		}
	}()
	for i := range uint64(20) {
		if err := converse(address, bytes.Repeat([]byte("healthy"), 10_000), rand.New(rand.NewPCG(i, 2))); err != nil {
			r.Error(err)
		}
	}
	queued := make(chan int64)
	r.l.Post(func() { queued <- r.l.Stats().Queued })
	if n := <-queued; n > 2*DefaultQueue+readSize {
		r.Errorf("%d bytes queued for one that does not read", n)
	}
	stuck.Close()
	<-paused
	stop()
}

// Clients that come and go leave nothing behind.
func TestLoopServeChurn(t *testing.T) { eachBackend(t, serveChurn) }

func serveChurn(r *rig) {
	address, stop := r.serve()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 40 {
				c, err := net.Dial("tcp", address)
				if err != nil {
					r.Error(err)
					return
				}
				if (i+j)%3 == 0 {
					c.(*net.TCPConn).SetLinger(0)
				}
				if (i+j)%2 == 0 {
					c.Write([]byte("gone before the answer"))
				}
				c.Close()
			}
		})
	}
	wg.Wait()
	if err := converse(address, []byte("still there"), rand.New(rand.NewPCG(1, 3))); err != nil {
		r.Error(err)
	}
	stop()
	r.until("every end", func() bool { return r.l.Stats().Conns == 0 })
}
