// SPDX-License-Identifier: Apache-2.0

package main

import "penstock/evloop/bench/load"

// The kinds of service that stand between clients and something else, each beside a C
// loop that does the same and no more:
//
//	proxy    clients ── server ── another server, which is a part of the load
//	bridge   clients ── server ── a pseudo-terminal, whose other end the load is
//	exec     clients ── server ── /bin/cat for each client

// kindYardsticks are the servers that the others are compared with.
var kindYardsticks = map[string]string{"proxy": "c-proxy", "bridge": "c-bridge", "exec": "c-exec"}

func (s settings) yardstick() string {
	if s.kind != "" {
		return kindYardsticks[s.kind]
	}
	return yardstick
}

// kindCells are the cells of -kind, or none for a kind that there is not.
func kindCells(kind string, quick bool) []Cell {
	switch kind {
	case "proxy":
		cells := []Cell{
			{load.Proxy, "tcp", 64, 64, 1, 0},
			{load.Proxy, "tcp", 1000, 64, 1, 0},
			{load.ProxyBulk, "tcp", 16, 0, 1, 0},
			{load.ProxyChurn, "tcp", 64, 0, 1, 0},
			{load.ProxyIdle, "tcp", 1000, 64, 1, 0},
			{load.ProxyReset, "tcp", 1, 0, 1, 0},
		}
		if quick {
			return []Cell{cells[0], cells[2], cells[3], cells[5]}
		}
		return cells
	case "bridge":
		cells := []Cell{
			{load.Bridge, "tcp", 100, 64, 1, 0},
			{load.BridgeBurst, "tcp", 10, 64, 1024, 0},
			{load.BridgeBurst, "tcp", 100, 64, 1024, 0},
			{load.Bridge, "tcp", 99, 64, 1, 1},
			{load.BridgeIdle, "tcp", 100, 64, 1, 0},
		}
		if quick {
			return cells[:3]
		}
		return cells
	case "exec":
		return []Cell{ // of which each takes no longer than a window
			{load.Exec, "tcp", 16, 0, 1, 0},
			{load.ExecPipes, "tcp", 16, 0, 1, 0},
			{load.ExecEcho, "tcp", 16, 64, 1, 0},
		}
	}
	return nil
}
