// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"time"

	"penstock/daemon/internal/view"
)

// The daemon counts, and keeps no rates, so that it needs no timer for them. A rate here
// is the difference of two pictures. What was seen in the last minutes is kept as long as
// this process runs; the plots have a gap for the time in which nobody looked.

const (
	// span is the time that a plot shows.
	span = 5 * time.Minute
	// gap is the longest time over which a rate means something, and a plot is drawn.
	gap = 4 * tick
)

// A point is a service at one moment.
type point struct {
	at      time.Time
	traffic view.Traffic // since the service began
	rated   bool         // in and out are known
	in, out float64      // bytes in a second since the point before
}

// A history has the points of each service, by name, the oldest first.
type history map[string][]point

// add takes a picture, and forgets what is too old.
func (h history) add(p *picture) {
	seen := map[string]bool{}
	for i := range p.snapshot.Services {
		s := &p.snapshot.Services[i]
		if s.Leaving || seen[s.Name] {
			continue
		}
		seen[s.Name] = true
		points := h[s.Name]
		next := point{at: p.at, traffic: s.Bytes}
		if n := len(points); n > 0 {
			last := points[n-1]
			past := next.at.Sub(last.at)
			if past <= 0 {
				continue
			}
			if past <= gap && next.traffic.In >= last.traffic.In && next.traffic.Out >= last.traffic.Out {
				next.rated = true
				next.in = float64(next.traffic.In-last.traffic.In) / past.Seconds()
				next.out = float64(next.traffic.Out-last.traffic.Out) / past.Seconds()
			}
		}
		points = append(points, next)
		for p.at.Sub(points[0].at) > span {
			points = points[1:]
		}
		h[s.Name] = points
	}
	for name := range h {
		if !seen[name] {
			delete(h, name)
		}
	}
}

// now returns the rates of a service at the time of its latest point.
func (h history) now(name string) (in, out float64, known bool) {
	points := h[name]
	if len(points) == 0 || !points[len(points)-1].rated {
		return 0, 0, false
	}
	last := points[len(points)-1]
	return last.in, last.out, true
}

// The size of a plot, in its own units.
const (
	plotWidth  = 150
	plotHeight = 28
)

// plot returns the rates of a service, both ways together, as the path of an SVG: a line,
// and the same closed to an area. most is the highest rate.
func (h history) plot(name string, now time.Time) (line, area string, most float64) {
	points := h[name]
	for _, p := range points {
		most = max(most, p.in+p.out)
	}
	var lines, areas strings.Builder
	var from float64
	drawn := false
	x := 0.0
	end := func() {
		if drawn {
			fmt.Fprintf(&areas, "L%.1f %dL%.1f %dZ", x, plotHeight, from, plotHeight)
		}
		drawn = false
	}
	for _, p := range points {
		if !p.rated {
			end()
			continue
		}
		x = plotWidth * (1 - now.Sub(p.at).Seconds()/span.Seconds())
		y := float64(plotHeight - 1)
		if most > 0 {
			y -= (plotHeight - 3) * (p.in + p.out) / most
		}
		command := "L"
		if !drawn {
			command, from, drawn = "M", x, true
		}
		fmt.Fprintf(&lines, "%s%.1f %.1f", command, x, y)
		fmt.Fprintf(&areas, "%s%.1f %.1f", command, x, y)
	}
	end()
	return lines.String(), areas.String(), most
}

// rate sets the rates of the clients, by the picture before.
func (p *picture) rate(before *picture) {
	if before == nil || before.err != nil || p.at.Sub(before.at) > gap || p.snapshot.PID != before.snapshot.PID {
		return
	}
	was := make(map[uint64]uint64, len(before.conns))
	for _, c := range before.conns {
		was[c.ID] = c.In + c.Out
	}
	past := p.at.Sub(before.at).Seconds()
	for i := range p.conns {
		c := &p.conns[i]
		if old, ok := was[c.ID]; ok && c.In+c.Out >= old && past > 0 {
			c.Rate = float64(c.In+c.Out-old) / past
		}
	}
}
