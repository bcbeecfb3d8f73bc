// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"image/color"
	"io"
	"os"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	_ "gonum.org/v1/plot/vg/vgsvg" // the format "svg"

	"penstock/evloop/bench/load"
)

// figureMain draws the results in a file as an SVG: CPU time for an operation
// as a multiple of the base's. Throughput would say the same less steadily, and
// a latency chart of a closed loop says it once more.
func figureMain(path, base string, out io.Writer) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("draw figure: %w", err)
	}
	defer f.Close()
	m, groups, err := readResults(f)
	if err != nil {
		return fmt.Errorf("draw figure: %s: %w", path, err)
	}
	if err := draw(m, groups, base, out); err != nil {
		return fmt.Errorf("draw figure: %w", err)
	}
	return nil
}

// A group is the records of one cell, in the order of the file.
type group struct {
	cell    Cell
	records []Record
}

// readResults reads what a journal has written. The last line may be cut off:
// a run that was interrupted can still be drawn.
func readResults(r io.Reader) (Machine, []group, error) {
	var m Machine
	var groups []group
	dec := json.NewDecoder(r)
	if err := dec.Decode(&m); err != nil {
		return m, nil, fmt.Errorf("read results: %w", err)
	}
	for {
		var rec Record
		err := dec.Decode(&rec)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return m, groups, nil
		}
		if err != nil {
			return m, nil, fmt.Errorf("read results: %w", err)
		}
		if len(groups) == 0 || groups[len(groups)-1].cell != rec.Cell {
			groups = append(groups, group{cell: rec.Cell})
		}
		g := &groups[len(groups)-1]
		g.records = append(g.records, rec)
	}
}

// palette is told apart by people who do not see red and green (Okabe and Ito,
// "Color Universal Design", 2008). The last ones are dark, for more servers than it has.
var palette = []color.RGBA{
	{0x00, 0x72, 0xB2, 0xFF},
	{0xD5, 0x5E, 0x00, 0xFF},
	{0x00, 0x9E, 0x73, 0xFF},
	{0xE6, 0x9F, 0x00, 0xFF},
	{0xCC, 0x79, 0xA7, 0xFF},
	{0x56, 0xB4, 0xE9, 0xFF},
	{0xF0, 0xE4, 0x42, 0xFF},
	{0x99, 0x99, 0x99, 0xFF},
	{0x00, 0x00, 0x00, 0xFF},
	{0x33, 0x22, 0x88, 0xFF},
	{0x88, 0x22, 0x55, 0xFF},
	{0x11, 0x77, 0x33, 0xFF},
}

const (
	barWidth   = 3 * vg.Millimeter
	groupWidth = 34 * vg.Millimeter // room for the cell's name below the bars
	height     = 90 * vg.Millimeter
)

func draw(m Machine, groups []group, base string, out io.Writer) error {
	groups = slices.DeleteFunc(groups, func(g group) bool { return g.cell.Mode == load.Idle || g.cell.Mode == start })
	order := peerOrder(groups, base)
	if len(order) == 0 {
		return errors.New("no busy cell in the results")
	}
	// Liberation Sans is shipped with the library, so that the figure comes
	// out the same on a machine without fonts.
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	p := plot.New()
	p.Title.Text = fmt.Sprintf("CPU time of the server for an operation (%s = 1, lower is better)", order[0])
	p.X.Label.Text = fmt.Sprintf("%s, Linux %s, %s, %s", m.CPU, m.Kernel, m.Go, m.Time.Format("2006-01-02"))
	p.Y.Min, p.Y.Tick.Marker = 0, plot.TickerFunc(halves)
	p.Legend.Top, p.Legend.Padding = true, vg.Millimeter
	grid := plotter.NewGrid()
	grid.Vertical.Width = 0
	p.Add(grid)
	most, err := addBars(p, groups, order)
	if err != nil {
		return err
	}
	p.Y.Max = 1.05 * most
	labels := make([]string, len(groups))
	for i, g := range groups {
		// "echo tcp" above "64 64B x1": in one line neighbours would touch.
		words := strings.Fields(g.cell.String())
		labels[i] = strings.Join(words[:2], " ") + "\n" + strings.Join(words[2:], " ")
	}
	p.NominalX(labels...)
	p.X.Max = float64(len(groups)) + 0.2 // the last group leaves its place to the legend
	width := vg.Length(len(groups)+1) * max(barWidth*vg.Length(len(order)+2), groupWidth)
	writer, err := p.WriterTo(max(width, 5*groupWidth), height, "svg")
	if err != nil {
		return err
	}
	_, err = writer.WriteTo(out)
	return err
}

// halves marks every half, so that 1, the base, always has its line.
func halves(_, most float64) []plot.Tick {
	var ticks []plot.Tick
	for v := 0.0; v <= most; v += 0.5 {
		ticks = append(ticks, plot.Tick{Value: v, Label: fmt.Sprint(v)})
	}
	return ticks
}

// addBars adds one bar for each peer to each group and returns the highest
// value. A peer that does not take part in a cell leaves its place empty.
func addBars(p *plot.Plot, groups []group, order []string) (most float64, err error) {
	for i, name := range order {
		values := make(plotter.Values, len(groups))
		for j, g := range groups {
			for _, l := range summarize(g.records, order) {
				if l.Peer == name {
					values[j] = l.CPURatio.Median
					most = max(most, values[j])
				}
			}
		}
		bars, err := plotter.NewBarChart(values, barWidth)
		if err != nil {
			return 0, err
		}
		bars.Color, bars.LineStyle.Width = palette[i%len(palette)], 0
		bars.Offset = barWidth * vg.Length(float64(i)-float64(len(order)-1)/2)
		p.Add(bars)
		p.Legend.Add(name, bars)
	}
	return most, nil
}

// peerOrder returns the names of all peers with a quiet run, the base first.
func peerOrder(groups []group, base string) []string {
	var peers []Peer
	for _, g := range groups {
		for _, r := range g.records {
			known := slices.ContainsFunc(peers, func(p Peer) bool { return p.Name == r.Peer })
			if r.Quiet && !known {
				peers = append(peers, Peer{Name: r.Peer})
			}
		}
	}
	return names(peers, base)
}
