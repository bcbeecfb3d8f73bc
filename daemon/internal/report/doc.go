// SPDX-License-Identifier: Apache-2.0

// Package report holds every record of the daemon's log. Messages are constants; what
// varies is in fields. Operators search for them, the journal indexes them and tests
// compare them, so they are in one place and not where the events happen.
//
//	error  the operator has to act
//	warn   a client was refused or lost something
//	info   the life of the process, and clients that went silent or were lost
//	debug  each connection, one record at its end
//
//	start.go    of a process that has no daemon yet
//	log.go      of the process
//	service.go  of one service and its clients
//	program.go  of a handler's program
//	control.go  of the control socket
//	state.go    of SIGUSR1, made of a view.Snapshot
//	reason.go   the words of REASON
//	keys.go     the fields, and the ids by which journalctl -x explains
//
// Records that a peer or a program can cause go through one limiter. No record holds
// payload, except a short excerpt with unsafe characters escaped.
package report
