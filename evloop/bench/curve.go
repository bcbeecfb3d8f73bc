// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"penstock/evloop/bench/load"
)

// curves are the cells of -curve: what a message and a delivered line cost as the work
// grows. Many more than 20,000 have no ports at one client address. Where a process may
// have that many descriptors and no more, the cell fails, and 18,000 is the last one.
func curves() []Cell {
	var cells []Cell
	for _, conns := range []int{16, 64, 256, 1000, 4000, 10000, 18000, 20000} {
		cells = append(cells, Cell{load.Echo, "tcp", conns, 64, 1, 0})
	}
	for _, conns := range []int{10, 100, 1000, 4000, 10000} {
		cells = append(cells, Cell{load.Room, "tcp", conns, 64, 1, 0})
	}
	return cells
}

// curveMain draws the results of -curve: CPU time for an echo and for a delivered line,
// by the number of connections. Time itself and not a ratio, since the question is
// whether it grows. A line that is level means work in proportion to the connections.
func curveMain(path string, out io.Writer) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("draw curve: %w", err)
	}
	defer f.Close()
	m, groups, err := readResults(f)
	if err == nil {
		err = drawCurve(m, groups, out)
	}
	if err != nil {
		return fmt.Errorf("draw curve: %w", err)
	}
	return nil
}

func drawCurve(m Machine, groups []group, out io.Writer) error {
	order := peerOrder(groups, yardstick)
	if len(order) == 0 {
		return errors.New("no quiet run in the results")
	}
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"} // see draw
	p := plot.New()
	p.Title.Text = "CPU of the server for an echo (full line) and a line to a member (dashed), µs"
	p.X.Label.Text = fmt.Sprintf("connections; %s, Linux %s, %s, %s", m.CPU, m.Kernel, m.Go, m.Time.Format("2006-01-02"))
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.TickerFunc(decades)
	p.Y.Min = 0
	p.Legend.Top, p.Legend.Left = true, true
	p.Add(plotter.NewGrid())
	for i, name := range order {
		for _, mode := range []string{load.Echo, load.Room} {
			points := curve(groups, order, name, mode)
			if len(points) == 0 {
				continue
			}
			line, dots, err := plotter.NewLinePoints(points)
			if err != nil {
				return err
			}
			line.Color, dots.Color = palette[i%len(palette)], palette[i%len(palette)]
			if line.Width = vg.Points(1.5); mode == load.Room {
				line.Dashes = []vg.Length{vg.Points(4), vg.Points(3)}
			}
			p.Add(line, dots)
			p.Legend.Add(name+", "+mode, line, dots)
		}
	}
	p.Y.Max *= 1.6 // the place of the legend
	writer, err := p.WriterTo(7*groupWidth, 3*height/2, "svg")
	if err != nil {
		return err
	}
	_, err = writer.WriteTo(out)
	return err
}

// curve returns what name has cost in the cells of a mode, in microseconds.
func curve(groups []group, order []string, name, mode string) (points plotter.XYs) {
	for _, g := range groups {
		lines := summarize(g.records, order)
		i := slices.IndexFunc(lines, func(l Line) bool { return l.Peer == name && l.Rounds > 0 })
		if g.cell.Mode == mode && i >= 0 {
			points = append(points, plotter.XY{X: float64(g.cell.Conns), Y: lines[i].CPU.Median / 1000})
		}
	}
	return points
}

// decades marks the powers of ten.
func decades(_, most float64) (ticks []plot.Tick) {
	for v := 10; float64(v) <= most; v *= 10 {
		ticks = append(ticks, plot.Tick{Value: float64(v), Label: strconv.Itoa(v)})
	}
	return ticks
}
