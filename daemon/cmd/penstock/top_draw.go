// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"penstock/daemon/internal/view"
)

// The screens of top: a state and a size make lines, each in one style.
//
//	penstock 0.3.0, pid 1, ready for 3m12s: …     the process
//	in 1.2 KiB/s, out 3 KiB/s, 120 turns/s        or what is wrong
//	clients of lobby, by rate: 12
//	 ID  SERVICE  PEER …                          the table's heads
//	…
//	arrows select  enter opens …                  or a question, or a message

type topStyle int

const (
	stylePlain topStyle = iota
	styleBold
	styleHead
	styleSelected
	styleWarning
)

type topLine struct {
	text  string
	style topStyle
}

// draw returns height lines, none of which is longer than width.
func (t *topState) draw(width, height int) []topLine {
	lines := []topLine{{processText(t.status), styleBold}, t.second()}
	room := max(0, height-len(lines)-1)
	switch {
	case t.status.PID == 0: // nothing is known yet
		lines[0].text = "penstock"
	case t.view == topClient:
		lines = append(lines, t.detail()...)
	default:
		lines = append(lines, t.rows(width, room)...)
	}
	lines = lines[:min(len(lines), max(0, height-1))]
	for len(lines) < height-1 {
		lines = append(lines, topLine{})
	}
	if height > 0 {
		lines = append(lines, t.bottom())
	}
	for i := range lines {
		lines[i].text = cut(lines[i].text, max(1, width))
	}
	return lines
}

// second returns the line below the first: what is wrong, or else what moves.
func (t *topState) second() topLine {
	if t.err != nil {
		text, _, _ := strings.Cut(explain(t.err), "\n")
		return topLine{"no answer, trying again: " + text, styleWarning}
	}
	if wrong := warningsOf(t.status); len(wrong) > 0 {
		return topLine{strings.Join(wrong, "; "), styleWarning}
	}
	var all view.Traffic
	for _, s := range t.services {
		all.In += s.rate.In
		all.Out += s.rate.Out
	}
	return topLine{text: fmt.Sprintf("in %s/s, out %s/s, %d turns/s, %s queued",
		bytesText(all.In), bytesText(all.Out), t.turns, bytesText(t.status.Loop.Queued))}
}

// bottom returns the last line.
func (t *topState) bottom() topLine {
	switch {
	case t.ending != nil:
		return topLine{fmt.Sprintf("end connection %d of %s (%s)? y or n", t.ending.ID, t.ending.Service, t.ending.Peer), styleSelected}
	case t.message != "":
		return topLine{t.message, styleBold}
	}
	return topLine{text: map[topView]string{
		topServices: "arrows select  enter its clients  c all clients  s sort  r reverse  q quit",
		topClients:  "arrows select  enter details  k end it  s sort  r reverse  esc back  q quit",
		topClient:   "k end it  esc back  q quit",
	}[t.view]}
}

// rows returns a title, and the table around the selected row.
func (t *topState) rows(width, height int) []topLine {
	title, n, order := "services", len(t.services), serviceOrders[t.order[topServices]].name
	if t.view == topClients {
		title, n, order = "clients", len(t.clients), clientOrders[t.order[topClients]].name
		if t.of != "" {
			title += " of " + t.of
		}
	}
	if t.reverse[t.view] {
		order += ", reversed"
	}
	lines := []topLine{{}, {text: fmt.Sprintf("%s, by %s: %d", title, order, n)}}
	if t.view == topClients && t.listed.IsZero() {
		return append(lines[:1], topLine{text: title + " …"})
	}
	height = max(1, height-len(lines)-1)
	selected := t.row()
	first := min(max(0, selected-height/2), max(0, n-height))
	last := min(n, first+height)
	show := t.serviceTable
	if t.view == topClients {
		show = t.clientTable
	}
	for i, text := range show(first, last).lines(width) {
		row, style := first+i-1, stylePlain
		switch {
		case i == 0:
			style, text = styleHead, pad(text, width)
		case row == selected:
			style, text = styleSelected, pad(text, width)
		case t.view == topServices && troubled(t.services[row]):
			style = styleWarning
		}
		lines = append(lines, topLine{text, style})
	}
	return lines
}

func pad(text string, width int) string { return fmt.Sprintf("%-*s", width, text) }

// troubled reports whether somebody should look after a service.
func troubled(s *topService) bool {
	return len(s.Missing) > 0 || s.Source != nil && (s.Source.State == "absent" || s.Source.State == "lost")
}

func (t *topState) serviceTable(first, last int) *table {
	tab := &table{columns: []column{
		{head: "SERVICE", gives: 8},
		{head: "KIND"},
		{head: "NOW", right: true},
		{head: "MOST", right: true},
		{head: "REFUSED", right: true},
		{head: "CUT", right: true},
		{head: "DROPPED", right: true},
		{head: "IN/s", right: true},
		{head: "OUT/s", right: true},
	}}
	for _, s := range t.services[first:last] {
		name := s.Name
		switch {
		case s.Leaving:
			name += " (ends)"
		case len(s.Missing) > 0:
			name += " (degraded)"
		case troubled(s):
			name += " (" + s.Source.State + ")"
		}
		tab.add(name, s.Kind, strconv.Itoa(s.Clients), strconv.Itoa(s.Most), strconv.FormatUint(sum(s.Refused), 10),
			strconv.FormatUint(sum(s.Cut), 10), strconv.FormatUint(s.Dropped, 10), bytesText(s.rate.In), bytesText(s.rate.Out))
	}
	return tab
}

func (t *topState) clientTable(first, last int) *table {
	tab := &table{columns: []column{
		{head: "ID", right: true},
		{head: "SERVICE", gives: 8},
		{head: "PEER", gives: 15},
		{head: "AGE", right: true},
		{head: "IDLE", right: true},
		{head: "IN/s", right: true},
		{head: "OUT/s", right: true},
		{head: "QUEUED", right: true},
		{head: "DROPPED", right: true},
	}}
	for _, c := range t.clients[first:last] {
		tab.add(strconv.FormatUint(c.ID, 10), c.Service, c.Peer.String(), timeText(c.Age), timeText(c.Idle),
			bytesText(c.rate.In), bytesText(c.rate.Out), bytesText(c.Queued+c.Kernel), strconv.FormatUint(c.Dropped, 10))
	}
	return tab
}

// detail shows one client.
func (t *topState) detail() []topLine {
	c := t.selected()
	if c == nil {
		return []topLine{{}, {fmt.Sprintf("connection %d has ended", t.id), styleBold}}
	}
	lines := []topLine{{}, {fmt.Sprintf("connection %d of %s", c.ID, c.Service), styleBold}, {}}
	for _, row := range [][2]string{
		{"peer", c.Peer.String()},
		{"since", timeText(c.Age) + ", idle for " + timeText(c.Idle.Truncate(time.Second))},
		{"in", bytesText(c.In) + ", " + bytesText(c.rate.In) + "/s"},
		{"out", bytesText(c.Out) + ", " + bytesText(c.rate.Out) + "/s"},
		{"queued", bytesText(c.Queued) + " here, " + bytesText(c.Kernel) + " in the kernel"},
		{"dropped", strconv.FormatUint(c.Dropped, 10) + " messages"},
	} {
		lines = append(lines, topLine{text: fmt.Sprintf("%-8s %s", row[0], row[1])})
	}
	return lines
}
