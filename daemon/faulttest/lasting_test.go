// SPDX-License-Identifier: Apache-2.0

package faulttest

import (
	"regexp"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestAcceptFailsForAWhile: accept fails each time, for as long as it lasts.
// Clients that are in are served, new ones wait and are served in the end, and the
// loop does not spin. ECONNABORTED is not among the errors: each takes a client
// from the backlog, so it cannot last.
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
	waiting.patience = 5 * time.Second
	if err := waiting.visit(); err != nil && !h.torn(d) {
		h.t.Errorf("%v\n%s", err, d.all())
	}
	for _, g := range guests {
		_ = g.Close()
	}
	if !h.torn(d) {
		h.serves()
	}
	d.stop()
}

// torn reports whether strace was detached in the middle of a call, which then
// fails with ENOSYS: a fault of the test.
func (h *host) torn(d *daemon) bool {
	return len(d.log("listener failed.*"+regexp.QuoteMeta(unix.ENOSYS.Error()))) > 0
}
