// SPDX-License-Identifier: Apache-2.0

// Package evloop is an event loop for Linux that serves many streams of bytes
// on one goroutine: it adopts descriptors that it did not open, bounds every
// queue, and lets no connection delay another.
//
// # Bytes, not readiness
//
// A [Handler] is given bytes that came and hands over bytes that must go. It
// never sees EAGAIN, a short write or an event mask: the back end (epoll(7),
// edge-triggered, or on request io_uring(7), see [Config].IOUring) keeps those
// to itself.
//
//   - Input is read into one buffer of the loop. What the handler does not
//     consume is kept, bounded, and shown again in front of further bytes.
//   - Output of a callback is gathered and sent once, when the outermost
//     callback returns. What the kernel does not take waits in the connection's
//     queue of messages, and only then EPOLLOUT is armed.
//   - A queue is bounded by [Options]. What happens at the bound is the
//     connection's [Overflow] policy; it acts on whole messages, and one that
//     has begun to go out is never cut. At the bound over all connections
//     ([Config].Memory), the connection that is charged about the most pays.
//   - An idle connection holds no buffer, and the path of a message does not
//     allocate.
//
// # Ownership and goroutines
//
// One loop is one goroutine: the one that calls [Loop.Run]. Every function and
// method of the package must be called there, inside a callback, or while Run
// does not run. The exceptions are [Loop.Post], [Loop.Stop], [Loop.Fallback],
// [NewMessage] and [ProbeIOUring], which any goroutine may call. A program built
// with the tag evloopcheck panics at a wrong call that could change something.
// The only handle to keep on another goroutine is a [ConnID]:
//
//	id := c.ID()
//	go func() {
//		answer := slow()
//		l.Post(func() {
//			if c := l.Conn(id); c != nil {
//				c.Write(answer)
//			}
//		})
//	}()
//
// A descriptor given to [Loop.Add] or [Loop.Listen] is the loop's from then
// on. The slice given to Data is the loop's and valid during the call; the
// slice given to Write is the caller's again when Write returns.
//
// # Order of callbacks
//
// Open comes first and Closed last, exactly once each. In between come Data,
// Drained and at most one EOF. Only Drained comes while the handler has the
// connection paused, and none of them after CloseAfterFlush or Abort. A
// callback runs inside another one only if that calls [Loop.Add], [Loop.AddOwn],
// [Loop.AddStream] or [Restore.Conn], which call Open or Restored before they
// return. All other effects of a callback, on the wire and on other handlers,
// come after the outermost callback has returned. Relay of a [Relayer] is a
// question in place of Data, and comes when Data could. The bytes that came before a reset are
// delivered before its error.
//
// A panic of a handler is not recovered: the loop would go on with state that
// is only half changed. Under a service manager the sockets outlive the
// process.
//
// With io_uring the outermost callback's output goes out when the turn ends,
// together with that of all others, in one system call. The ring belongs to
// one thread, so the goroutine that calls Run is locked to its thread until
// Close; nothing is sent before Run has begun.
//
// # Restart
//
// [Loop.DetachAll] takes connections out of a loop, with all that is known of
// them, and a [Restore] brings them back in another loop or process. No peer sees
// a difference, and of the handlers only a [Restorer] does. A line that waits in a
// thousand queues is written once and shared again, so nobody is cut for memory
// because of it. Between the two steps nothing happens to a connection, and
// until [Restore.Done] nothing is sent.
//
// # A turn
//
// The loop asks epoll for events without sleeping first, serves them, then
// expired timers, then posted functions, then the ready list: connections that
// used up their read budget, listeners that used up their batch. An
// edge-triggered kernel does not report those again, so the loop remembers
// them. It sleeps only when the list is empty, until the earliest deadline.
// Nothing wakes it periodically. Time is CLOCK_MONOTONIC. [Config].Work bounds
// what a turn serves; the next turn goes on with the rest.
//
// # Names and shortage
//
// The kernel carries a slot and a generation, not a pointer and not the
// descriptor, so a late event never reaches the next holder of a number.
// Without free descriptors accept waits and tries again, on a timer and whenever
// a connection closes; clients wait in the backlog.
//
// # io_uring
//
// Input comes by multishot receives into shared buffers, and the output of a
// whole turn goes out in one io_uring_enter. Listeners stay with epoll: a
// multishot accept would take the whole backlog in spite of limits and pauses,
// and a restart would then refuse the clients that were taken. io_uring is not
// the default. It needs Linux 6.1, is refused on 32-bit ARM and in most
// sandboxes, binds the loop to a thread, costs a megabyte, and gains little:
// see bench/README.md.
//
// # What it is not
//
// It has no TLS (crypto/tls wants a net.Conn), no datagrams, no dialing: a
// connected descriptor is adopted by [Loop.Add]. It runs on Linux only.
//
// Package evlooptest helps to test handlers.
package evloop
