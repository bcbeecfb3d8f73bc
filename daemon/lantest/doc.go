// SPDX-License-Identifier: Apache-2.0

// Package lantest runs the real binary on a LAN of two machines. It has no code
// of its own: `make lan-test` runs its tests, which need root and ip(8) and are
// skipped by `go test ./...`.
//
// The machines are network namespaces, joined by a veth(4) pair. The daemon is in
// a third one, which is empty, as PrivateNetwork= of the packaged unit has it;
// its listening sockets are made in that of the board, where PID 1 would be. So
// lists of addresses are tried with the sockets and the view that the packaged
// service has. A booted system shows the same and takes minutes;
// packaging/test is that.
package lantest
