// SPDX-License-Identifier: Apache-2.0

// Package daemon is the product: it joins a configuration, listening sockets
// and services on one event loop and keeps them running until told to stop.
//
// # Start
//
// The order is fixed, and READY is the last step, because from then on the
// service manager and its users rely on every port:
//
//	main      take inherited sockets, read the configuration (exit 78 if bad)
//	New       limits, loop, signals, services, sockets: match the inherited or bind
//	Run       start services, arm listeners, READY=1, loop
//	          … SIGHUP: read and check off the loop, swap on it …
//	          SIGTERM, or nobody came for exit_idle:
//	          STOPPING=1, close listeners, drain, exit 0
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
//
// The life of the process (lifecycle.go) and that of a program are pure steps from
// a state and a trigger to the next state and what is to be done.
//
// # Who opens the sockets
//
// Package internal/listen opens and matches sockets. A process that was activated
// or started by a unit never binds: it takes the sockets it was handed, by name. A
// service that lacks one is degraded: the rest is served, an error is logged and
// STATUS says what to do. A process started by hand binds everything itself, and a
// socket that cannot be opened is an error at start.
//
// # Who calls what
//
// Everything runs on the goroutine that called Run, with exceptions that come
// back by evloop.Loop.Post: the goroutine that waits for signals, the one that
// reads files during a reload, because a slow disk must not hold up clients, and
// for each handler the one that starts its program and waits for its end.
//
//	evloop.Acceptor  listener ── admission ──► endpoint ──► service.Service
//	                 (socket)    (who, how many) (counts, log)  (the protocol)
//
// What can be seen of all this is one value, a view.Snapshot, which is made on
// the loop (snapshot.go); the records of SIGUSR1 and the status line are rendered
// from it.
//
// The listener points to its endpoint and can be pointed to another one, so a
// reload replaces a service without closing its port.
package daemon
