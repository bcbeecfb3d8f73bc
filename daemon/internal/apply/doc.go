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
// A restart of everything would be simpler and would close every port for a
// moment: clients that come then are refused. Sockets that did not change stay
// open here, and a client that connects while the service restarts is served by
// the new one.
//
// What the manager says about a socket is not taken for granted. After a
// daemon-reload that somebody else caused, a socket whose address has changed
// is "active" and listens nowhere. So the kernel is asked: a socket is well if
// there is a listener at each of its addresses that PID 1 holds, and that the
// service holds too if it runs.
package apply
