// SPDX-License-Identifier: Apache-2.0

// Package handover carries open connections from one process to the next in a queue
// of descriptors. It knows nothing of the service manager, of the event loop or of
// services: whoever uses it keeps the reader's end alive between the two processes.
//
//	old process                      nobody's                      new process
//
//	NewQueue ─┬─ reader's end ─────► store, or kept ─────────────► Peek
//	          │                      over exec                      │
//	          └─ writer's end        ┌───────────────────────┐      │ sees copies,
//	     Stored: is it really there? │ 255  memfd of records │      │ the queue stays
//	     Fill ─────────────────────► │ 250  250 descriptors  │ ─────┤ whole
//	     exit                        │  93  93 descriptors   │      ▼
//	                                 │   0  the end          │     Match, and all
//	                                 └───────────────────────┘     that can fail
//	                                   empty ◄──────────────────── Commit
//
// The queue is one SOCK_SEQPACKET pair (unix(7)). Each message is one byte; that byte
// is what the boxes above begin with: the number of descriptors that came with it, or
// the mark of the first or the last message.
//
// # Who owns a descriptor
//
//   - Before Fill, and after it, those given to Fill are the caller's. A queued
//     connection has two owners then: close(2) in the old process does not end it,
//     shutdown(2) would.
//   - What Peek returns are further copies, and the caller's. Until Commit the queue
//     owns the connections as well: a process that exits there ends none of them.
//   - Commit empties the queue. From then on the caller is the only owner: a
//     connection that is not adopted has to be ended (End).
//   - Peek takes the queue's own descriptor only if it returns a Parcel. Commit closes
//     it, Discard does not.
//
// # What a crash costs
//
//	before Stored          the old process serves on, or dies as in any crash
//	in the middle of Fill  what was queued lives, the rest ends; there is no end
//	                       message (Parcel.Complete), and every record is there
//	after Fill             nothing, for as long as somebody keeps the reader's end
//	after Peek             nothing: the next process peeks and finds everything
//	within Commit          as in any crash: all connections end
//	two queues             a process has died after it filled one without being able
//	                       to empty that from which it came: Newest tells which holds
//
// # Why so
//
// The alternative, a stored descriptor for each connection, costs the service manager
// seconds for thousands of them, and names or order have to tell which is which. A
// handshake of both processes would need them at the same time, and memory for both.
//
// The records are in a sealed memfd and not in the messages: bytes count against the
// send buffer, and a writer that nobody reads from would have to wait. The seals are
// why the reader may trust the length that it has seen.
//
// The kernel's rules that this package stands on are shown by its tests: a peek brings
// the rights each time (recvmsg(2), SO_PEEK_OFF in socket(7)), and a read without a
// control buffer takes the message and drops them.
package handover
