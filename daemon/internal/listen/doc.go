// SPDX-License-Identifier: Apache-2.0

// Package listen is about listening sockets before a loop accepts from them: who
// opens them, what they are set to, and whose they are.
//
//	started by a unit   systemd.Inherited ──► Assign ──► Inherit ─┐
//	                                           by name            ├──► Socket
//	started by hand     service.listen ─────► Open ───────────────┘
//	                                           bind.go, file.go
//
// A process that was started by hand opens its sockets itself, the way
// systemd.socket(5) would from the same keys, so that moving a file between the
// two changes nothing. Raw system calls instead of package net: that would put
// each listener into the runtime's own epoll set as well, and every client would
// wake two loops.
//
// What an accepted socket gets is here too (tune.go), and what "local-subnets"
// means on this machine (networks.go): both are questions to the kernel that
// nobody else asks.
package listen
