// SPDX-License-Identifier: Apache-2.0

// Package boardstest has a room on three boards while the broker, the network and the
// programs fail by a schedule, and compares what every client has heard. It has no code of
// its own: `make boards-test` runs its test, which needs root, ip(8) and mosquitto(8), and
// is skipped by `go test ./...`.
//
// A board is a network namespace with a daemon and its companion. Clients come by a Unix
// socket, so that a cut network is the companion's trouble alone:
//
//	 a: penstock, penstock-mqtt ── eth0 10.9.0.2 ──┐
//	 b: penstock, penstock-mqtt ── eth0 10.9.0.3 ──┤ bridge 10.9.0.1: mosquitto
//	 c: penstock, penstock-mqtt ── eth0 10.9.0.4 ──┘
//
//	setup ─► figures ─► faults, one after the other ─► a last line of each ─► judgement
//
// Clients that speak number their lines. Each client keeps the next number of each speaker
// and the gaps, and not the lines: ten minutes of a hundred clients are millions of these.
// A line may be missing only if the companion's log counts it as lost. The log names numbers
// of the daemon's feed, so the test follows each feed, too.
//
// A companion that is killed learns from the daemon's history what it has shown. With
// faults of a minute, that has to hold what is said in the meantime: see -history. Otherwise
// a line may come twice, and the companion can only say that it is in doubt.
package boardstest
