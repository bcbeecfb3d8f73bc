// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"penstock/evloop/bench/load"
)

// start is the mode in which the server is not running yet: the first client
// of an activated socket has it started. It is not a mode of package load, for
// there is no load.
const start = "start"

// A Cell is one row of the matrix: what the clients do, for every server.
type Cell struct {
	Mode     string `json:"mode"`
	Network  string `json:"network"`
	Conns    int    `json:"conns"`
	Size     int    `json:"size"`
	Pipeline int    `json:"pipeline"`
	Stuck    int    `json:"stuck,omitempty"`
}

// String names the cell, for the table and for -cells.
func (c Cell) String() string {
	s := fmt.Sprintf("%s %s %d", c.Mode, c.Network, c.Conns)
	switch c.Mode {
	case load.Echo, load.Room, load.Restart, load.Proxy, load.Bridge, load.BridgeBurst, load.ExecEcho:
		s += fmt.Sprintf(" %dB", c.Size)
	}
	switch c.Mode {
	case load.Echo, load.Ask, load.Room, load.BridgeBurst:
		s += fmt.Sprintf(" x%d", c.Pipeline)
	}
	if c.Stuck > 0 {
		s += fmt.Sprintf(" stuck%d", c.Stuck)
	}
	return s
}

// serverMode is what the server must do in this cell.
func (c Cell) serverMode() string {
	switch c.Mode {
	case load.Churn, start:
		return load.Ask
	case load.Idle, load.Restart:
		return load.Echo
	case load.Proxy, load.ProxyBulk, load.ProxyChurn, load.ProxyIdle, load.ProxyReset:
		return load.Proxy
	case load.Bridge, load.BridgeBurst, load.BridgeIdle:
		return load.Bridge
	case load.ExecEcho:
		return load.ExecPipes
	}
	return c.Mode
}

// inFlight is how many bytes one client has on the way at most.
func (c Cell) inFlight() int { return c.Size * c.Pipeline }

// full is the whole matrix. The first cells are the ones that matter most, so
// that an interrupted run has them.
func full() []Cell {
	var cells []Cell
	for _, pipeline := range []int{1, 16} {
		for _, size := range []int{64, 4096} {
			for _, conns := range []int{64, 1000, 1, 8000} {
				cells = append(cells, Cell{load.Echo, "tcp", conns, size, pipeline, 0})
			}
		}
	}
	for _, conns := range []int{64, 1000} {
		cells = append(cells, Cell{load.Echo, "unix", conns, 64, 1, 0})
	}
	for _, conns := range []int{64, 1000} {
		cells = append(cells, Cell{load.Ask, "tcp", conns, 0, 1, 0})
	}
	for _, conns := range []int{10, 100, 1000} {
		for _, pipeline := range []int{1, 16} {
			cells = append(cells, Cell{load.Room, "tcp", conns, 64, pipeline, 0})
		}
	}
	return append(cells,
		Cell{load.Churn, "tcp", 64, 0, 1, 0},
		Cell{load.Exec, "tcp", 16, 0, 1, 0},
		Cell{load.ExecPipes, "tcp", 16, 0, 1, 0},
		Cell{load.Room, "tcp", 10, 64, 1, 3},
		Cell{load.Echo, "tcp", 10, 64, 1, 3},
		Cell{load.Idle, "tcp", 8000, 64, 1, 0},
		Cell{load.Idle, "tcp", 0, 64, 1, 0},
		Cell{start, "tcp", 1, 0, 1, 0})
}

// asked are the cells that run only if -cells names them: Unix sockets in the
// sizes and depths of TCP. They would double the time of echo, and say little
// beyond the cells of full.
func asked() []Cell {
	var cells []Cell
	for _, c := range full() {
		if c.Mode == load.Echo && c.Network == "tcp" && c.Stuck == 0 {
			c.Network = "unix"
			if !slices.Contains(full(), c) {
				cells = append(cells, c)
			}
		}
	}
	return cells
}

// quick is what fits into three minutes: the two cells that say whether a
// change was a mistake, and the memory.
func quick() []Cell {
	return []Cell{
		{load.Echo, "tcp", 64, 64, 1, 0},
		{load.Echo, "tcp", 1000, 64, 1, 0},
		{load.Room, "tcp", 100, 64, 1, 0},
		{load.Idle, "tcp", 1000, 64, 1, 0},
	}
}

// restarts are the cells of -restart.
func restarts() []Cell {
	var cells []Cell
	for _, conns := range []int{100, 1000, 8000} {
		cells = append(cells, Cell{load.Restart, "tcp", conns, 64, 1, 0})
	}
	return cells
}

// choose keeps the cells whose name matches one of the comma-separated
// patterns, anchored at both ends: "echo tcp (64|1000) 64B x1,idle.*".
func choose(cells []Cell, patterns string) ([]Cell, error) {
	if patterns == "" {
		return cells, nil
	}
	re, err := regexp.Compile("^(?:" + strings.ReplaceAll(patterns, ",", "|") + ")$")
	if err != nil {
		return nil, fmt.Errorf("choose cells: %w", err)
	}
	var kept []Cell
	for _, c := range cells {
		if re.MatchString(c.String()) {
			kept = append(kept, c)
		}
	}
	if len(kept) == 0 {
		return nil, fmt.Errorf("choose cells: none matches %q", patterns)
	}
	return kept, nil
}
