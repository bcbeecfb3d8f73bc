// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"slices"
	"testing"
)

// The function of SetTap is told what is written to the connections that are tapped, in
// order and by each way to write, and nothing of others.
func TestLoopTap(t *testing.T) { eachBackend(t, tap) }

func tap(r *rig) {
	a, p := r.unix()
	b, _ := r.unix()
	var told []string
	r.do(func() {
		r.l.SetTap(func(c *Conn, p []byte) {
			if c != a {
				r.Error("another connection is told")
			}
			told = append(told, string(p))
		})
		a.Write([]byte("before"))
		a.Tap(true)
		short := []byte("write")
		a.Write(short)
		short[0] = 'X' // the caller's again
		b.Write([]byte("no"))
		a.Send(NewMessage([]byte("send")))
		a.WriteStatic(make([]byte, 2*borrowMin))
		a.Tap(false)
		a.Write([]byte("after"))
	})
	if want := []string{"write", "send", string(make([]byte, 2*borrowMin))}; !slices.Equal(told, want) {
		r.Errorf("told %q, want %q", told, want)
	}
	r.gets(p, []byte("beforewritesend"+string(make([]byte, 2*borrowMin))+"after"))
}
