// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"penstock/daemon/internal/control"
	"penstock/daemon/internal/report"
	"penstock/daemon/internal/view"
)

const aboutStatus = `Says what the running daemon serves, to how many clients, what was refused and
why. With SERVICE, it says so of that one alone, and where it listens.

Which daemon: that of --socket PATH, then of $PENSTOCK_CONTROL, then the one that
this user has started by hand, then penstock.service. If that does not run, it is
not started; systemd's sockets are shown in its place.
`

func status(p process, c command, args []string) int {
	a, status, ok := newAsk(p, c, args, nil)
	if !ok {
		return status
	}
	return a.answer(a.sayIdle, a.sayStatus)
}

func (a ask) sayStatus(client *control.Client) error {
	st, services, err := a.status(client)
	switch {
	case err != nil:
		return err
	case a.json:
		return a.printJSON(struct {
			Status   control.Status `json:"status"`
			Services []view.Service `json:"services"`
		}{st, services})
	}
	a.printProcess(st)
	a.printServices(services)
	a.printTroubles(services)
	if a.of != "" {
		a.printListeners(services)
	}
	return nil
}

func (a ask) printProcess(st control.Status) {
	fmt.Fprintln(a.stdout, processText(st))
	for _, text := range warningsOf(st) {
		fmt.Fprintln(a.stdout, a.warning(text))
	}
	for _, c := range st.Companions {
		fmt.Fprintln(a.stdout, c.Name+": "+c.State)
	}
	fmt.Fprintln(a.stdout)
}

// processText says in a line what the process is and does.
func processText(st control.Status) string {
	return fmt.Sprintf("penstock %s, pid %d, %s for %s: %s, %d of %d connections",
		st.Version, st.PID, st.Phase, timeText(st.Uptime), plural(st.Services, "service"), st.Connections, st.Limit)
}

// warningsOf says what is wrong with the process, in a line each.
func warningsOf(st control.Status) (lines []string) {
	if st.Refused != "" {
		lines = append(lines, report.InPlace(st.Restored)+st.Refused)
	}
	if len(st.Degraded) > 0 {
		lines = append(lines, fmt.Sprintf("degraded: %s (%s)", strings.Join(st.Degraded, ", "), report.HintMissing(st.Managed)))
	}
	return lines
}

func plural(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return strconv.Itoa(n) + " " + what
}

func (a ask) printServices(services []view.Service) {
	t := table{columns: []column{
		{head: "SERVICE", gives: 8},
		{head: "KIND"},
		{head: "NOW", right: true},
		{head: "MOST", right: true},
		{head: "EVER", right: true},
		{head: "REFUSED", right: true},
		{head: "CUT", right: true},
		{head: "DROPPED", right: true},
		{head: "IN", right: true},
		{head: "OUT", right: true},
	}}
	for _, s := range services {
		name := s.Name
		switch {
		case s.Leaving:
			name += " (ends)"
		case s.Drained:
			name += " (drained)"
		}
		t.add(name, s.Kind, strconv.Itoa(s.Clients), strconv.Itoa(s.Most), strconv.FormatUint(s.Accepted, 10),
			strconv.FormatUint(sum(s.Refused), 10), strconv.FormatUint(sum(s.Cut), 10),
			strconv.FormatUint(s.Dropped, 10), bytesText(s.Bytes.In), bytesText(s.Bytes.Out))
	}
	t.write(a.stdout)
}

func sum(counts map[string]uint64) (n uint64) {
	for _, c := range counts {
		n += c
	}
	return n
}

// printTroubles prints why clients were refused or cut off, what was lost, and what is
// wrong with a device or a program.
func (a ask) printTroubles(services []view.Service) {
	t := table{columns: []column{{}, {gives: 8}, {gives: 20}}}
	for _, s := range services {
		for _, row := range []struct {
			what   string
			counts map[string]uint64
		}{{"refused", s.Refused}, {"cut", s.Cut}, {"lost", s.Lost}} {
			if len(row.counts) > 0 {
				t.add(row.what, s.Name, countsText(row.counts))
			}
		}
		if s.Source != nil {
			t.add("source", s.Name, sourceText(s.Source))
		}
		if len(s.Missing) > 0 {
			t.add("missing", s.Name, strings.Join(s.Missing, " "))
		}
	}
	if len(t.rows) > 0 {
		fmt.Fprintln(a.stdout)
		t.write(a.stdout)
	}
}

// countsText writes counts by reason: "3 address, 1 per_source".
func countsText(counts map[string]uint64) string {
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, strconv.FormatUint(counts[reason], 10)+" "+reason)
	}
	return strings.Join(parts, ", ")
}

func sourceText(s *view.Source) string {
	text := s.Name + " " + s.State
	for _, e := range []struct {
		n    uint64
		what string
	}{{s.Overrun, "overrun"}, {s.Frame, "frame"}, {s.Parity, "parity"}, {s.Break, "break"}, {s.Long, "long_lines"}, {s.Unsent, "unsent_bytes"}, {uint64(s.Queued), "queued_bytes"}} {
		if e.n > 0 {
			text += fmt.Sprintf(", %d %s", e.n, e.what)
		}
	}
	if s.Refused != "" {
		text += ", settings_refused " + s.Refused
	}
	return text
}

func (a ask) printListeners(services []view.Service) {
	for _, s := range services {
		for _, l := range s.Listeners {
			state := "listens on "
			if l.Dead {
				state = "accepts nobody on "
			}
			fmt.Fprintln(a.stdout, state+l.Address)
		}
	}
}
