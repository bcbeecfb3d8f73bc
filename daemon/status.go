// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"strings"
	"time"

	"penstock/daemon/internal/report"
	"penstock/daemon/internal/view"
)

// statusDelay is how long changes are gathered into one STATUS=. It also bounds how
// often clients can wake the service manager by connecting. Without a change no
// timer is armed.
const statusDelay = 2 * time.Second

// statusChanged has a STATUS= sent soon.
func (d *Daemon) statusChanged() {
	if d.env.Notifier != nil && d.life.phase == ready {
		d.arm(timerStatus, statusDelay)
	}
}

func (d *Daemon) sendStatus() {
	if d.life.phase == ready {
		d.tell(d.env.Notifier.Status(d.status()))
	}
}

// status is one line for systemctl status.
func (d *Daemon) status() string { return statusLine(d.snapshot()) }

// statusLine says what runs, what does not, and what to do about it. The most
// important part comes first, since the line may be cut.
func statusLine(s *view.Snapshot) string {
	var parts []string
	if s.Refused != "" {
		first, _, _ := strings.Cut(s.Refused, "\n")
		parts = append(parts, report.InPlace(s.Restored)+first)
	}
	if names := s.Degraded(); len(names) > 0 {
		parts = append(parts, fmt.Sprintf("degraded: %s (%s)", strings.Join(names, ", "), report.HintMissing(s.Managed)))
	}
	if names := s.Sourceless(); len(names) > 0 {
		parts = append(parts, "no device, program or backend: "+strings.Join(names, ", "))
	}
	if names := s.Drained(); len(names) > 0 {
		parts = append(parts, "drained: "+strings.Join(names, ", "))
	}
	parts = append(parts, fmt.Sprintf("%d services, %d connections", s.InForce(), s.Clients()))
	return strings.Join(parts, "; ")
}

// dumpConns bounds how many connections of a service SIGUSR1 writes to the log.
// Thousands would flood the journal, and those with the most bytes queued are the
// interesting ones.
const dumpConns = 20

// dump writes the state to the log.
func (d *Daemon) dump() { d.look(dumpConns, d.log.State) }
