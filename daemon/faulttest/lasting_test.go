// SPDX-License-Identifier: Apache-2.0

package faulttest

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestAcceptFailsForAWhile: accept fails each time, for as long as it lasts.
// Who is in is served, who knocks waits and is served in the end, and the loop
// does not spin. ECONNABORTED is not among them: each takes a client from the
// backlog, so it cannot last.
func TestAcceptFailsForAWhile(t *testing.T) {
	need(t, "strace")
	forBackends(t, func(t *testing.T, backend string) {
		h := newHost(t, backend, "")
		for _, errno := range []unix.Errno{
			unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.EPROTO, unix.EPERM, unix.EOPNOTSUPP,
		} {
			t.Run(unix.ErrnoName(errno), func(t *testing.T) {
				h.t = t
				h.waitsFor(injection{call{name: "accept4"}, errno, "1+"})
			})
		}
	})
}

func (h *host) waitsFor(i injection) {
	d := h.start()
	guests := h.guests()
	s := h.attach(d, i)
	waiting, err := h.dial("echo")
	h.check(err)
	for _, g := range guests {
		h.check(g.round())
	}
	d.calm()
	if s.detach() == 0 {
		h.t.Error("accept4 was never called")
	}
	if len(d.log("listener failed.*function not implemented")) > 0 {
		return // strace was detached in the middle of a call, which then fails with ENOSYS
	}
	if err := waiting.visit(); err != nil {
		h.t.Errorf("%v\n%s", err, d.all())
	}
	for _, g := range guests {
		_ = g.Close()
	}
	h.serves()
	d.stop()
}
