// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"penstock/daemon/internal/service"
	"penstock/evloop"
)

// statusDelay gathers changes into one STATUS=. It also bounds how often a
// client can wake the service manager by connecting. Without a change there
// is no timer.
const statusDelay = 2 * time.Second

// statusChanged has a STATUS= sent soon.
func (d *Daemon) statusChanged() {
	if d.env.Notifier == nil || d.statusDue || d.life.phase != ready {
		return
	}
	d.statusDue = true
	d.schedule(timerStatus, statusDelay)
}

func (d *Daemon) sendStatus() {
	if d.life.phase == ready {
		d.tell(d.env.Notifier.Status(d.status()))
	}
}

// status is one line for systemctl status: what runs, and above all what does
// not and what to do about it. What matters most comes first, since the line
// may be cut.
func (d *Daemon) status() string {
	var parts []string
	if d.refusal != nil {
		first, _, _ := strings.Cut(d.refusal.Error(), "\n")
		what := "reload refused, the old configuration stays in force: "
		if d.restored != nil {
			what = "configuration refused, serving what was applied on " + d.restored.Applied.Format(time.RFC3339) + ": "
		}
		parts = append(parts, what+first)
	}
	if names := d.degraded(); len(names) > 0 {
		parts = append(parts, fmt.Sprintf("degraded: %s (%s)", strings.Join(names, ", "), d.remedy()))
	}
	parts = append(parts, fmt.Sprintf("%d services, %d connections", len(d.endpoints), d.clients))
	return strings.Join(parts, "; ")
}

// degraded names the services that lack a listener.
func (d *Daemon) degraded() (names []string) {
	for _, ep := range d.ordered() {
		if len(ep.missing()) > 0 {
			names = append(names, ep.conf.Name)
		}
	}
	return names
}

// remedy says what to do about a degraded service.
func (d *Daemon) remedy() string {
	if d.env.Managed {
		return hintMissing
	}
	return "restart it"
}

// dumpConns bounds how many connections of a service SIGUSR1 writes to the
// log: the journal is no place for thousands, and those that matter are the
// ones with the most queued.
const dumpConns = 20

// dump writes the state to the log.
func (d *Daemon) dump() {
	d.log.state(d.life.phase, len(d.endpoints), d.clients, len(d.leaving), d.loop.Stats())
	for _, ep := range append(d.ordered(), d.leaving...) {
		ep.dump()
	}
}

func (ep *endpoint) dump() {
	in, out := ep.bytesIn, ep.bytesOut
	kernel := 0
	var conns []*evloop.Conn
	for c := range ep.connections {
		kernel += c.KernelQueued()
		in += c.BytesIn()
		out += c.BytesOut()
		conns = append(conns, c)
	}
	ep.d.log.serviceState(ep, kernel, in, out)
	slices.SortFunc(conns, func(a, b *evloop.Conn) int { return cmp.Compare(b.Queued(), a.Queued()) })
	for _, c := range conns[:min(len(conns), dumpConns)] {
		ep.d.log.connState(ep.conf.Name, c, service.SessionOf(c), ep.d.loop.Now())
	}
}

func (ep *endpoint) addresses() string {
	var texts []string
	for _, l := range ep.listeners {
		if !l.dead() {
			texts = append(texts, l.text)
		}
	}
	return strings.Join(texts, " ")
}

// counts lists numbers by reason, "address=3 uid=1".
func counts(byReason map[string]uint64) string {
	var texts []string
	for reason, n := range byReason {
		texts = append(texts, fmt.Sprintf("%s=%d", reason, n))
	}
	slices.Sort(texts)
	return strings.Join(texts, " ")
}
