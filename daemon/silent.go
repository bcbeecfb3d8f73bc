// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/record"
	"penstock/daemon/internal/report"
	"penstock/daemon/internal/service"
	"penstock/daemon/internal/view"
	"penstock/evloop"
)

// A TCP client that shuts its side without a word may listen, or it may have closed
// the connection: a FIN looks the same. Some kinds go on serving it (package service,
// listens). If it is gone, only output or keepalive finds that out, keepalive after up
// to two minutes. A health check each second would hold all places of its address. So
// a client that finds no place gets that of the oldest one of which nobody knows that
// it is still there:
//
//	nothing was sent to it since its EOF       a closed socket answers output with RST
//	no ACK came later than finWait after that  a closed socket answers probes no longer
//
// Ending such a client at its EOF was the alternative. It would end one that listens
// even while places are free.

// A silent is a client that has shut its side without a word.
type silent struct {
	conn   *evloop.Conn
	ep     *endpoint
	source source
	since  evloop.Time // of its EOF
	out    uint64      // bytes sent to it by then
}

// finWait is for how long the kernel of a peer may acknowledge probes of a connection
// that the peer has closed: tcp_fin_timeout, a minute, and some time for the way.
const finWait = 70 * time.Second

// errExchanged ends a client that gives its place to another one. The log has it as
// keepalive's finding, which it anticipates.
var errExchanged = fmt.Errorf("silent client gave its place to another: %w", unix.ETIMEDOUT)

// heard notes a client whose EOF its service has just seen, if it is a silent one. A
// Unix socket tells of its peer's close by itself.
func (d *Daemon) heard(ep *endpoint, c *evloop.Conn) {
	s := service.SessionOf(c)
	if s.IsTCP() && s.BytesIn(c) == 0 && !c.Closing() {
		d.silent = append(d.silent, silent{c, ep, sourceOf(s.Peer()), d.loop.Now(), c.BytesOut()})
	}
}

// is reports whether there is such a client.
func (s silent) is() bool { return s.since != 0 }

// save writes what the next process has to know of s, or that there is none.
func (s silent) save(w *record.Writer) {
	w.Number(uint64(s.since))
	if s.is() {
		w.Number(s.out)
	}
}

// loadSilent reads what save has written. The caller fills in the connection.
func loadSilent(r *record.Reader) (s silent) {
	if s.since = evloop.Time(r.Number()); s.is() {
		s.out = r.Number()
	}
	return s
}

// forgetSilent is called when c has ended.
func (d *Daemon) forgetSilent(c *evloop.Conn) {
	if service.SessionOf(c).BytesIn(c) > 0 {
		return
	}
	if i := slices.IndexFunc(d.silent, func(s silent) bool { return s.conn == c }); i >= 0 {
		d.silent = slices.Delete(d.silent, i, i+1)
	}
}

// exchange ends a silent client whose place is what p lacks, and reports whether there
// was one. Until the end has been served, both are counted.
func (ep *endpoint) exchange(p view.Peer, reason report.Reason) bool {
	if reason != report.RefusedService && reason != report.RefusedSource {
		return false
	}
	d, ownShare := ep.d, ep.fullFor(p)
	sameService := ownShare || reason == report.RefusedService // one that was announced has a place of it
	sameSource := ownShare || d.sources.count(p) >= d.share(p)
	from, looks := sourceOf(p), 0
	var gives *evloop.Conn
	d.silent = slices.DeleteFunc(d.silent, func(s silent) bool {
		if gives != nil || looks == vanishedPortion || sameService && s.ep != ep || sameSource && s.source != from {
			return false
		}
		looks++
		if !s.conn.Closing() && !s.lives(d.loop.Now()) {
			gives = s.conn
		}
		return true // nobody has to ask about it again
	})
	if gives != nil {
		gives.Abort(errExchanged)
	}
	return gives != nil
}

// lives reports whether it is known that the client is there, or will be known soon.
func (s silent) lives(now evloop.Time) bool {
	if s.conn.BytesOut() > s.out || s.conn.Queued() > 0 {
		return true
	}
	info, err := unix.GetsockoptTCPInfo(s.conn.FD(), unix.IPPROTO_TCP, unix.TCP_INFO)
	return err == nil && now.Sub(s.since)-time.Duration(info.Last_ack_recv)*time.Millisecond > finWait
}
