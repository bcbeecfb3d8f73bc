// SPDX-License-Identifier: Apache-2.0

// Package systemd speaks the protocols between a service and systemd that need
// nothing but environment variables, descriptors and datagrams. It works the
// same for any program on the other side that speaks them, and does nothing
// where there is no such program.
//
//	listen.go   inherited sockets     LISTEN_FDS     sd_listen_fds(3), systemd.socket(5)
//	pidfd.go    whose sockets         LISTEN_PIDFDID systemd.exec(5)
//	notify.go   readiness, status     NOTIFY_SOCKET  sd_notify(3), systemd.service(5)
//	barrier.go  "has it been read?"                  sd_notify_barrier(3)
//	fdstore.go  for the next process  FDSTORE        sd_notify(3), FileDescriptorStoreMax=
//	watchdog.go how often to ping     WATCHDOG_USEC  sd_watchdog_enabled(3)
//
// The log of a service is in package journal below this one.
//
// A daemon begins with
//
//	inherited, err := systemd.Inherit()       // first statement of main
//	notifier, err := systemd.NewNotifier()    // nil without a supervisor
//	every, err := systemd.WatchdogInterval()  // 0 without a watchdog
//	handler, sink := journal.NewHandler(journal.Options{Identifier: "penstock"})
//
// Each of the first three unsets the variables that it has read, so that no
// child of the process takes them for its own. They must run before other
// goroutines read the environment.
//
// Nothing here waits for systemd: descriptors are non-blocking, queues are
// bounded, and what is dropped is counted. The exceptions are few and bounded
// by a second or by an argument: [Notifier.Ready] and the other methods whose
// message must arrive, while PID 1 does not read, and [Notifier.Barrier]. The
// package never logs.
//
// # What is used of go-systemd
//
// The names of the notifications and MONOTONIC_USEC (package daemon). It imports
// net; with package journal, measured in a small static binary on amd64, that
// adds 100 KB and no resident memory to speak of. The rest is not used:
//
//   - activation adds 1.15 MB (crypto/tls), wraps descriptors in files whose
//     finalizers close them, drops what it cannot wrap without an error, takes
//     any list of names, and does not know LISTEN_PIDFDID.
//   - daemon.SdNotify dials a blocking socket for each message, and cannot pass
//     descriptors, so that there is no barrier.
//   - daemon.SdWatchdogEnabled reads microseconds into an int, which ends at 35
//     minutes on a 32-bit Raspberry Pi.
package systemd
