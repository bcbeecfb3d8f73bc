// SPDX-License-Identifier: Apache-2.0

// Package listen is about listening sockets before a loop accepts from them: it opens
// them or takes inherited ones, sets their options, and finds their services.
//
//	started by a unit   systemd.Inherited ──► Assign ──► Inherit ─┐
//	                                           by name            ├──► Socket
//	started by hand     service.listen ─────► Open ───────────────┘
//	                                           bind.go, file.go
//
// A process that was started by hand opens its sockets itself. It does so as systemd
// would from the same keys (systemd.socket(5)), so that a file means the same in both
// cases. It makes raw system calls. The alternative was package net, but that would
// add each listener to the epoll set of the Go runtime, and every client would wake two
// loops.
//
// The package also sets the options of accepted sockets (tune.go), and finds out what
// "local-subnets" means on this machine (networks.go).
package listen
