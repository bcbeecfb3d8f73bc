// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"errors"
	"testing"
	"time"
)

// Closed can tell how much of what was written never reached the kernel,
// whatever the end, and nothing is counted twice.
func TestUnsent(t *testing.T) { eachBackend(t, unsent) }

func unsent(r *rig) {
	var told int
	r.onClosed = func(c *Conn, _ error) { told = c.Unsent() }
	for _, tt := range []struct {
		name string
		end  func(*Conn, *peer)
		want error
	}{
		{"stalled", func(c *Conn, _ *peer) { c.SetOptions(&Options{StallTimeout: time.Millisecond}) }, ErrStalled},
		{"flush timeout", func(c *Conn, _ *peer) { c.CloseAfterFlush(time.Millisecond, nil) }, ErrFlushTimeout},
		{"aborted", func(c *Conn, _ *peer) { c.Abort(nil) }, ErrAborted},
		{"reset", func(_ *Conn, p *peer) { p.reset() }, nil}, // ECONNRESET or EPIPE: whether the kernel is asked for input or output first
		{"overflow", func(c *Conn, _ *peer) {
			c.SetOptions(&Options{Queue: 1, Overflow: Disconnect})
			c.Write([]byte("too much"))
		}, ErrOverflow},
		{"memory", func(c *Conn, _ *peer) { r.l.SetLimits(0, 1) }, ErrMemory},
	} {
		r.l.SetLimits(0, 0)
		c, p := r.tcp()
		written := len(r.stick(c))
		if n := c.Unsent(); n != 0 {
			r.Errorf("%s: Unsent = %d before the end", tt.name, n)
		}
		r.do(func() { tt.end(c, p) })
		r.until("Closed", func() bool { return r.of(c).closed })
		if err := r.of(c).err; err == nil || tt.want != nil && !errors.Is(err, tt.want) {
			r.Errorf("%s: Closed(%v)", tt.name, err)
		}
		if want := written - int(c.BytesOut()); told != want || want == 0 {
			r.Errorf("%s: Unsent in Closed = %d, want %d: %d were written and %d taken", tt.name, told, want, written, c.BytesOut())
		}
	}
}

// Output that was gathered and not yet sent counts, too, and an orderly end
// throws nothing away.
func TestUnsentGathered(t *testing.T) { eachBackend(t, unsentGathered) }

func unsentGathered(r *rig) {
	for _, tt := range []struct {
		end        func(*Conn)
		want       error
		wantUnsent int
	}{
		{func(c *Conn) { c.Abort(nil) }, ErrAborted, 5},
		{func(c *Conn) { c.CloseAfterFlush(patience, nil) }, nil, 0},
	} {
		c, p := r.tcp()
		p.shut()
		r.until("EOF", func() bool { return r.of(c).eof })
		r.do(func() {
			c.Write([]byte("reply"))
			tt.end(c)
		})
		r.ends(c, tt.want)
		if n := c.Unsent(); n != tt.wantUnsent {
			r.Errorf("Unsent after %v = %d, want %d", tt.want, n, tt.wantUnsent)
		}
	}
}

// What a paused connection was sent, the kernel holds, or the loop keeps it.
func TestKernelInput(t *testing.T) { eachBackend(t, kernelInput) }

func kernelInput(r *rig) {
	for _, pair := range []func() (*Conn, *peer){r.tcp, r.unix} {
		c, p := pair()
		r.do(func() { c.Pause() })
		p.write("unread")
		r.until("input", func() bool { return c.KernelInput()+len(c.Input()) == len("unread") })
		r.do(func() { c.Resume() })
		r.until("Data", func() bool { return string(r.of(c).got) == "unread" })
		r.do(func() {
			if n := c.KernelInput(); n != 0 {
				r.Errorf("%d bytes are unread, want none", n)
			}
		})
	}
}
