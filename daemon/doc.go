// SPDX-License-Identifier: Apache-2.0

// Package daemon is the product: it joins a configuration, listening sockets
// and services on one event loop and keeps them running until told to stop.
//
// # Start
//
// The order is fixed. READY comes last, because from then on the service
// manager and its users rely on every port:
//
//	main      take inherited sockets, read the configuration (exit 78 if bad)
//	New       limits, loop, signals, services, sockets (inherited, or bound here)
//	Run       start services, arm listeners, READY=1, loop
//	          … SIGHUP: read and check on a goroutine, swap on the loop …
//	          SIGTERM, or no client for exit_idle:
//	          STOPPING=1, close listeners, drain, exit 0
//	          SIGINT of a manager, or SIGUSR2 (handover.go):
//	          queue the connections, exit 75; New of the next process finds
//	          them (takeover.go), and Run goes on with them
//
// # What is where
//
// Here is what ties the parts together and what changes while the process runs;
// the parts themselves know nothing of it:
//
//	internal/config   what the files say
//	internal/listen   listening sockets: who opens them, whose they are
//	internal/service  the protocols; internal/process: a handler's program
//	internal/report   every record of the log, every reason, the one limiter
//	internal/view     what can be seen of the daemon, as plain data
//	internal/handover a queue of connections between two processes
//
// The life of the process (lifecycle.go) and that of a program are pure steps from
// a state and a trigger to the next state and what is to be done.
//
// # Who opens the sockets
//
// Package internal/listen opens sockets and matches inherited ones with services. A
// process that a unit started never binds: it takes the sockets that it was handed,
// by name. A service for which a socket is missing is degraded: its other sockets
// are served, an error is logged and STATUS says what to do. A process that was
// started by hand binds everything itself, and a socket that cannot be opened is an
// error at start.
//
// # Who calls what
//
// Everything runs on the goroutine that called Run, except for what may block. That has
// goroutines of its own, which hand their results to the loop by evloop.Loop.Post:
//
//   - one waits for signals;
//
//   - one reads the files during a reload, because a slow disk must not hold up
//     clients;
//
//   - one finds out, before a hand-over by execve(2), whether the next process can
//     start, which means reading the files as well;
//
//   - one for each handler, and for each bridge with a command, starts the program and
//     waits for its end;
//
//   - those of a device open it, close it, set it as a client wants, and look whether it
//     still has its name, and that of a followed file reads what is new, while there is
//     such work.
//
// A client passes through these types:
//
//	evloop.Acceptor  listener ── admission ──► endpoint ──► service.Service
//	                 (socket)    (who, how many) (counts, log)  (the protocol)
//
// Readers of the daemon's state get one value, a view.Snapshot, which is made on
// the loop (snapshot.go). The records of SIGUSR1, the status line and the answers of the
// control socket (control.go) are made from it.
//
// The listener points to its endpoint and can be pointed to another one, so a
// reload replaces a service without closing its port.
package daemon
