// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"io"
	"slices"
	"testing"
)

// CloseWrite sends what is queued, then FIN, and input goes on behind it.
func TestLoopCloseWrite(t *testing.T) { eachBackend(t, closeWrite) }

func closeWrite(r *rig) {
	for _, pair := range []func() (*Conn, *peer){r.tcp, r.unix} {
		for _, full := range []bool{false, true} {
			c, p := pair()
			var want []byte
			if full {
				want = r.stick(c)
			}
			r.do(func() {
				c.Write([]byte("the last word"))
				c.CloseWrite()
				c.CloseWrite()
				if c.Write([]byte("too late")) || c.Send(NewMessage([]byte("too late"))) {
					r.Error("output is taken behind CloseWrite")
				}
			})
			r.gets(p, append(want, "the last word"...))
			r.spin("FIN", func() bool { _, err := p.receive(); return err == io.EOF })
			p.write("still heard")
			r.until("input behind FIN", func() bool { return string(r.of(c).got) == "still heard" })
			if h := r.of(c); h.closed || c.Closing() {
				r.Error("the connection has ended with its output")
			}
			p.close()
			r.ends(c, nil)
			if !r.of(c).eof {
				r.Error("no EOF")
			}
		}
	}
}

// CloseWrite after the peer's FIN ends the connection.
func TestLoopCloseWriteLast(t *testing.T) { eachBackend(t, closeWriteLast) }

func closeWriteLast(r *rig) {
	for _, pair := range []func() (*Conn, *peer){r.tcp, r.unix} {
		c, p := pair()
		p.shut()
		r.until("EOF", func() bool { return r.of(c).eof })
		r.do(func() { c.Write([]byte("bye")); c.CloseWrite() })
		r.gets(p, []byte("bye"))
		r.ends(c, nil)
	}
}

// An output that is to end does so in the next process.
func TestLoopRestartShutsOutput(t *testing.T) { eachBackend(t, restartShutsOutput) }

func restartShutsOutput(r *rig) {
	c, p := r.tcp()
	want := slices.Clone(r.stick(c))
	r.do(func() { c.CloseWrite() })
	c = r.restart(Config{}, nil, nil, c)[0]
	if c.Write([]byte("too late")) {
		r.Error("output is taken behind CloseWrite of the former process")
	}
	r.gets(p, want)
	r.spin("FIN", func() bool { _, err := p.receive(); return err == io.EOF })
	p.write("still heard")
	r.until("input behind FIN", func() bool { return string(r.of(c).got) == "still heard" })
}
