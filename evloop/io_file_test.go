// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Another process that has the same open file description can clear O_NONBLOCK
// at any time. The loop must not wait in read(2) or write(2) for it.
func TestOthersMayClearNonblock(t *testing.T) {
	ends := []struct {
		name string
		open func(*rig) (c *Conn, theirs int)
	}{
		{"pipe to read", func(r *rig) (*Conn, int) { read, write := r.pipe(); return r.add(read), newPeer(r.T, write).fd }},
		{"pipe to write", func(r *rig) (*Conn, int) { read, write := r.pipe(); return r.add(write), newPeer(r.T, read).fd }},
		{"terminal", func(r *rig) (*Conn, int) { c, p := r.terminal(false); return c, p.fd }},
	}
	for _, e := range ends {
		t.Run(e.name, func(t *testing.T) {
			for _, old := range []bool{false, true} {
				r := foundRig(t)
				c, theirs := e.open(r)
				ours := c.FD()
				if old { // a kernel that does not know RWF_NOWAIT here
					c.edge |= edgeBlocks
				}
				hung := time.AfterFunc(patience, func() { panic("the loop hangs in a system call") })
				clearAgain := func() {
					if err := unix.SetNonblock(ours, false); err != nil {
						t.Fatal(err)
					}
				}
				if c.kind.reads() {
					for _, text := range []string{"one\n", "two\n"} {
						clearAgain()
						if _, err := unix.Write(theirs, []byte(text)); err != nil {
							t.Fatal(err)
						}
						want := string(r.of(c).got) + text
						r.until("input", func() bool { clearAgain(); return string(r.of(c).got) == want })
					}
				}
				if c.kind.writes() {
					clearAgain()
					r.do(func() { c.Write(make([]byte, 1<<20)) })
					for range 3 {
						clearAgain()
						r.turn()
					}
					if c.Queued() == 0 {
						t.Error("a megabyte has vanished")
					}
				}
				hung.Stop()
				r.do(func() { c.Abort(nil) })
			}
		})
	}
}
