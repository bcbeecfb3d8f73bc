// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"penstock/evloop/bench/load"
)

// printMachine writes on which machine the figures below were measured.
func printMachine(w io.Writer, m Machine) {
	fmt.Fprintf(w, "%s, %d CPUs, Linux %s %s, %s", m.CPU, m.CPUs, m.Kernel, m.Arch, m.Go)
	if m.Compiler != "" {
		fmt.Fprintf(w, ", %s", m.Compiler)
	}
	fmt.Fprintf(w, "\n%s, window %s: %s\n", m.Time.Format("2006-01-02 15:04 MST"), m.Window, pinning(m))
	fmt.Fprint(w, "Ratios are to the first line of a block: the median of the ratios within each round, and (least..most).\n")
}

func pinning(m Machine) string {
	if m.ServerCPU < 0 {
		return "nothing pinned"
	}
	return fmt.Sprintf("server on CPU %d, load on CPU %d", m.ServerCPU, m.LoadCPU)
}

// printCell writes the block of one cell.
func printCell(w io.Writer, c Cell, title string, lines []Line) error {
	fmt.Fprintf(w, "\n%s: %s\n", c, title)
	if len(lines) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	switch c.Mode {
	case load.Idle, load.ProxyIdle, load.BridgeIdle:
		idleBlock(t, lines)
	case load.ProxyReset:
		resetBlock(t, lines)
	case start:
		startBlock(t, lines)
	case load.Restart:
		restartBlock(t, lines)
	default:
		busyBlock(t, c, lines)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print table: %w", err)
	}
	for _, l := range lines {
		if l.Error != "" {
			fmt.Fprintf(w, "  %s failed: %s\n", l.Peer, l.Error)
		}
	}
	return nil
}

// rounds says how many runs the block was computed from, and how many were left
// out.
func rounds(records []Record) string {
	var quiet, disturbed int
	for _, r := range records {
		switch {
		case r.Quiet:
			quiet++
		case r.Error == "":
			disturbed++
		}
	}
	s := fmt.Sprintf("%d quiet runs", quiet)
	if disturbed > 0 {
		s += fmt.Sprintf("; %d disturbed by other load, repeated and not counted", disturbed)
	}
	return s
}

func busyBlock(w io.Writer, c Cell, lines []Line) {
	unit := "op"
	switch c.Mode {
	case load.Room, load.Bridge, load.BridgeBurst:
		unit = "line"
	case load.ProxyBulk:
		unit = "MiB"
	}
	fmt.Fprintf(w, "\tn\t%ss/s\tratio\t\tCPU ns/%s\tratio\t\tswitches/%s\tbusy\tp50 us\tp99 us\t(..)\t", unit, unit, unit)
	if c.Stuck > 0 {
		fmt.Fprint(w, "silence ms\t")
	}
	if c.serverMode() == load.Bridge {
		fmt.Fprint(w, "p50, p99 ratio\tdevice not read ms\t")
	}
	fmt.Fprintln(w)
	for _, l := range lines {
		if l.Rounds == 0 {
			continue
		}
		fmt.Fprintf(w, "%s\t%d\t%.0f\t%.2f\t%s\t%.0f\t%.2f\t%s\t%.3f\t%.0f%%\t%.0f\t%.0f\t(%.0f..%.0f)\t",
			l.Peer, l.Rounds, l.Ops.Median, l.OpsRatio.Median, l.OpsRatio.extremes(), l.CPU.Median,
			l.CPURatio.Median, l.CPURatio.extremes(), l.Switches.Median, 100*l.Busy.Median,
			l.P50.Median, l.P99.Median, l.P99.Min, l.P99.Max)
		if c.Stuck > 0 {
			fmt.Fprintf(w, "%.1f\t", l.Silence.Max)
		}
		if c.serverMode() == load.Bridge {
			fmt.Fprintf(w, "%.2f, %.2f\t%.1f\t", l.Wait.Median, l.Late.Median, l.Stalled.Max)
		}
		fmt.Fprintln(w)
	}
}

func idleBlock(w io.Writer, lines []Line) {
	fmt.Fprint(w, "\tn\tB/conn open\tafter a message\tdescriptors\tat rest: RSS KiB\tprivate dirty KiB\twake-ups/s\tCPU us/s\t\n")
	for _, l := range lines {
		if l.Rounds == 0 {
			continue
		}
		fmt.Fprintf(w, "%s\t%d\t%.0f\t%.0f\t%.1f\t%.0f\t%.0f\t%.2f\t%.1f\t\n", l.Peer, l.Rounds,
			l.OpenedBytes.Median, l.UsedBytes.Median, l.Files.Median, l.RestKiB.Median, l.RestDirtyKiB.Median,
			l.WakeupsPerS.Median, l.IdleCPUPerS.Median)
	}
}

// resetBlock says what reaches a client whose backend has reset the connection.
func resetBlock(w io.Writer, lines []Line) {
	fmt.Fprint(w, "\tn\tconnections/s\tended by a reset\tas if all was said\t\n")
	for _, l := range lines {
		if l.Rounds > 0 {
			fmt.Fprintf(w, "%s\t%d\t%.0f\t%.0f%%\t%.0f%%\t\n", l.Peer, l.Rounds, l.Ops.Median, 100*(1-l.Clean.Median), 100*l.Clean.Median)
		}
	}
}

func startBlock(w io.Writer, lines []Line) {
	fmt.Fprint(w, "\tn\tfirst byte us\tratio\t\tslowest us\tCPU us/start\tratio\t\tswitches/start\t\n")
	for _, l := range lines {
		if l.Rounds > 0 {
			fmt.Fprintf(w, "%s\t%d\t%.0f\t%.2f\t%s\t%.0f\t%.0f\t%.2f\t%s\t%.1f\t\n", l.Peer, l.Rounds, l.P50.Median,
				l.Wait.Median, l.Wait.extremes(), l.P99.Median, l.CPU.Median/1000, l.CPURatio.Median, l.CPURatio.extremes(), l.Switches.Median)
		}
	}
}

// restartBlock has milliseconds. In brackets is the window before the restart.
func restartBlock(w io.Writer, lines []Line) {
	fmt.Fprint(w, "\tn\tlongest pause ms\t\t(before)\tp99 of clients ms\t\t(before)\tfresh connection ms\t\t(before)\trefused\t\n")
	for _, l := range lines {
		if l.Rounds == 0 {
			continue
		}
		fmt.Fprintf(w, "%s\t%d\t", l.Peer, l.Rounds)
		for _, p := range [][2]Spread{{l.Restart.Longest, l.Calm.Longest}, {l.Restart.P99, l.Calm.P99}, {l.Restart.Fresh, l.Calm.Fresh}} {
			fmt.Fprintf(w, "%.1f\t(%.1f..%.1f)\t(%.1f)\t", p[0].Median, p[0].Min, p[0].Max, p[1].Median)
		}
		fmt.Fprintf(w, "%.0f\t\n", l.Refused.Max)
	}
}

func (s Spread) extremes() string { return fmt.Sprintf("(%.2f..%.2f)", s.Min, s.Max) }

// names returns the peers' names in the order of the table: the yardstick
// first, then as they were given.
func names(peers []Peer, base string) []string {
	var out []string
	for _, p := range peers {
		out = append(out, p.Name)
	}
	if i := slices.Index(out, base); i > 0 {
		out = slices.Insert(slices.Delete(out, i, i+1), 0, base)
	}
	return out
}
