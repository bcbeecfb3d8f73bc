// SPDX-License-Identifier: Apache-2.0

// Package report holds every record of the daemon's log: messages are constants,
// what varies is in fields. They are what an operator greps for, what the journal
// indexes and what tests compare, so they are in one place and not where the
// things happen.
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
//	state.go    of SIGUSR1, made of a view.Snapshot
//	reason.go   the words of REASON
//	keys.go     the fields, and the ids by which journalctl -x explains
//
// What a peer or a program can cause goes through the one limiter. No record holds
// payload, but for an excerpt that is fit to be read.
package report
