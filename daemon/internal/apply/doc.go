// SPDX-License-Identifier: Apache-2.0

// Package apply puts an edited configuration in force on a machine where
// systemd holds the sockets: it has the generator run again and then restarts
// what has changed, and nothing else.
//
//	read the applied units ──► daemon-reload ──► read the generated ones
//	                                  │
//	     what has changed, and what does not listen ──► plan
//	                                  │
//	     stop what was removed, restart sockets and service in one call
//	                                  │
//	     look whether each socket listens and was passed ──► once more, or done
//
// The alternative was to restart everything. That would be simpler, but would close
// every port for a moment, and clients that come then are refused. Here the sockets
// that did not change stay open, and a client that connects while the service
// restarts is served by the new process.
//
// The package does not rely on what the manager says about a socket. After a
// daemon-reload that somebody else caused, a socket whose address has changed is
// "active" and listens nowhere. So the kernel is asked: a socket is well if each of
// its addresses has a listener, and if PID 1 and, if it runs, the service hold it.
package apply
