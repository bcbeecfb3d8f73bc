// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"regexp"
)

// A goal is a bound that one server must keep in some cells, in comparison
// with another or by itself. The table below is what this project holds itself
// to, so that a run ends with a verdict and not only with figures. Wake-ups at rest
// are not in it: what happens once a minute shows in no window of seconds.
type goal struct {
	cells   string // a pattern as for -cells
	peer    string
	what    string
	value   func(own, other Line) float64
	against string // "": nothing
	atLeast bool
	bound   float64
}

var (
	opsRatio  = func(own, other Line) float64 { return own.OpsRatio.Median / other.OpsRatio.Median }
	cpuRatio  = func(own, other Line) float64 { return own.CPURatio.Median / other.CPURatio.Median }
	waitRatio = func(own, other Line) float64 { return own.Wait.Median / other.Wait.Median }
	switches  = func(own, _ Line) float64 { return own.Switches.Median }
	moreOften = func(own, other Line) float64 { return own.Switches.Median - other.Switches.Median }
	usedBytes = func(own, _ Line) float64 { return own.UsedBytes.Median }
	resident  = func(own, _ Line) float64 { return own.RestKiB.Median / 1024 }
	longest   = func(own, _ Line) float64 { return own.Restart.Longest.Median }
	late      = func(own, other Line) float64 { return own.Late.Median / other.Late.Median }
	files     = func(own, _ Line) float64 { return own.Files.Median }
	wakeups   = func(own, _ Line) float64 { return own.WakeupsPerS.Median }
	clean     = func(own, _ Line) float64 { return own.Clean.Max }
	silence   = func(own, _ Line) float64 { return own.Silence.Max }
	stalled   = func(own, _ Line) float64 { return own.Stalled.Max }
	dirty     = func(own, _ Line) float64 { return own.RestDirtyKiB.Median / 1024 }
)

const (
	opsName   = "ops/s, ratio"
	cpuName   = "CPU/op, ratio"
	pauseName = "longest pause, ms"
	someMany  = "tcp (64|1000)"
)

var goals = []goal{
	{"echo " + someMany + " 64B x1", "evloop", opsName, opsRatio, yardstick, true, 0.97},
	{"echo " + someMany + " 64B x1", "evloop", cpuName, cpuRatio, yardstick, false, 1.00},
	{"echo tcp (64|1000|8000) 64B x16", "evloop", cpuName, cpuRatio, yardstick, false, 1.10},
	{"echo tcp 8000 64B x1", "evloop", cpuName, cpuRatio, yardstick, false, 1.10},
	{"echo tcp (64|1000|8000) 4096B x16", "evloop", cpuName, cpuRatio, yardstick, false, 1.05},
	{"echo tcp 1 64B x1", "evloop", cpuName, cpuRatio, yardstick, false, 0.85},
	{"echo tcp 1 64B x1", "evloop", "switches/op", switches, "", false, 1.05},
	{"echo unix 64 64B x1", "evloop", cpuName, cpuRatio, yardstick, false, 1.08},
	{"(echo|ask) " + someMany + "( 64B)? x1", "penstock", opsName, opsRatio, yardstick, true, 0.93},
	{"(echo|ask) " + someMany + "( 64B)? x1", "penstock", cpuName, cpuRatio, yardstick, false, 1.10},
	{"echo tcp 1000 64B x1", "evloop", cpuName, cpuRatio, "go-net", false, 0.78},
	{"echo tcp 1000 64B x1", "evloop", cpuName, cpuRatio, "netpoll", false, 0.65},
	{"echo " + someMany + " 64B x1", "evloop", cpuName, cpuRatio, "gnet", false, 0.92},
	{"echo " + someMany + " 64B x1", "evloop", cpuName, cpuRatio, "nbio", false, 0.95},
	{"echo " + someMany + " 64B x1", "evloop", cpuName, cpuRatio, "evio", false, 0.80},
	{"echo " + someMany + " 64B x1", "evloop-uring", cpuName, cpuRatio, "c-uring", false, 1.03},
	{"echo " + someMany + " 64B x1", "evloop", "switches/op, difference", moreOften, "gnet", false, 0},
	{"echo " + someMany + " 64B x1", "evloop", "switches/op, difference", moreOften, "nbio", false, 0},
	{"echo " + someMany + " 64B x1", "evloop", "switches/op, difference", moreOften, "netpoll", false, 0.01},
	{"room tcp 1000 64B x1", "evloop", opsName, opsRatio, yardstick, true, 0.95},
	{"room tcp 1000 64B x1", "evloop", cpuName, cpuRatio, yardstick, false, 1.05},
	{"room tcp 1000 64B x1", "evloop-uring", cpuName, cpuRatio, "evloop", false, 0.85},
	{"echo " + someMany + " 64B x1", "evloop", "switches/op, difference", moreOften, yardstick, false, 0.01},
	{"idle tcp 8000", "evloop", "bytes for a connection", usedBytes, "", false, 190},
	{"idle tcp 8000", "penstock", "bytes for a connection", usedBytes, "", false, 300},
	{"idle tcp 0", "penstock", "resident, MiB", resident, "", false, 8},
	{"idle tcp 0", "penstock", "private dirty, MiB", dirty, "", false, 2},
	{"exec(-pipes)? tcp 16", "penstock", cpuName, cpuRatio, "c-exec", false, 1.15},
	{"exec-echo tcp 16 64B", "penstock", cpuName, cpuRatio, "c-exec", false, 1.10},
	{"proxy " + someMany + " 64B", "penstock", cpuName, cpuRatio, "c-proxy", false, 1.10},
	{"proxy " + someMany + " 64B", "penstock", cpuName, cpuRatio, "haproxy", false, 1.05},
	{"proxy-bulk tcp 16", "penstock", cpuName, cpuRatio, "c-proxy", false, 0.60},
	{"proxy-churn tcp 64", "penstock", cpuName, cpuRatio, "c-proxy", false, 1.25},
	{"proxy-idle tcp 1000", "penstock", "bytes for a pair", usedBytes, "", false, 1050},
	{"proxy-idle tcp 1000", "penstock", "descriptors for a pair", files, "", false, 2},
	{"proxy-idle tcp 1000", "penstock", "wake-ups/s", wakeups, "", false, 0.5},
	{"proxy-reset tcp 1", "penstock", "share of resets that came as an end", clean, "", false, 0},
	{"bridge tcp 100 64B", "penstock", cpuName, cpuRatio, "c-bridge", false, 1.05},
	{"bridge tcp 100 64B", "penstock", "median latency, ratio", waitRatio, "c-bridge", false, 1.2},
	{"bridge tcp 100 64B", "penstock", "99th percentile, ratio", late, "c-bridge", false, 1.5},
	{"bridge-burst tcp (10|100) 64B x1024", "penstock", cpuName, cpuRatio, "c-bridge", false, 1.3},
	{"bridge tcp 99 64B stuck1", "penstock", "silence, ms", silence, "", false, 100},
	{"bridge tcp 99 64B stuck1", "penstock", "device not read, ms", stalled, "", false, 100},
	{"bridge-idle tcp 100", "penstock", "bytes for a client", usedBytes, "", false, 800},
	{"start tcp 1", "penstock", "first byte, ratio", waitRatio, yardstick, false, 1.5},
	{"restart tcp 1000 64B", "penstock-exec", pauseName, longest, "", false, 200},
	{"restart tcp 1000 64B", "penstock-systemd", pauseName, longest, "", false, 200},
	{"restart tcp 8000 64B", "penstock-exec", pauseName, longest, "", false, 500},
	{"restart tcp 8000 64B", "penstock-systemd", pauseName, longest, "", false, 500},
}

// A verdict says how a goal came out in a cell.
type verdict struct {
	goal
	cell Cell
	got  float64
}

func (v verdict) met() bool {
	if v.atLeast {
		return v.got >= v.bound
	}
	return v.got <= v.bound
}

// judge holds a cell to the goals. A goal whose servers did not both run is
// left out.
func judge(c Cell, lines []Line) []verdict {
	byName := map[string]Line{}
	for _, l := range lines {
		if l.Rounds > 0 {
			byName[l.Peer] = l
		}
	}
	var out []verdict
	for _, g := range goals {
		own, ran := byName[g.peer]
		other, otherRan := byName[g.against]
		if !ran || g.against != "" && !otherRan || !regexp.MustCompile("^(?:"+g.cells+")$").MatchString(c.String()) {
			continue
		}
		out = append(out, verdict{g, c, g.value(own, other)})
	}
	return out
}

// printVerdicts writes one line for each goal that was measured.
func printVerdicts(w io.Writer, verdicts []verdict) {
	if len(verdicts) == 0 {
		return
	}
	fmt.Fprintln(w, "\nGoals:")
	for _, v := range verdicts {
		word, sign, to := "met   ", "at most", ""
		if !v.met() {
			word = "MISSED"
		}
		if v.atLeast {
			sign = "at least"
		}
		if v.against != "" {
			to = " to " + v.against
		}
		fmt.Fprintf(w, "  %s  %s: %s, %s%s: %.3g, wanted %s %.4g\n", word, v.cell, v.peer, v.what, to, v.got, sign, v.bound)
	}
}
