// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"strconv"
	"time"
)

// Overflow says what happens to a connection whose output queue is full.
type Overflow uint8

const (
	// Pause stops reading from the connection until its queue has fallen to the
	// low-water mark. A peer that does not read stops only itself. It is for
	// services that answer their own peer: a handler that writes only while
	// Conn.Full is false loses nothing. A message for a queue that has grown to
	// twice Options.Queue is dropped, so that a handler that writes from a
	// timer is bounded too.
	Pause Overflow = iota
	// DropOldest drops the oldest whole messages that have not begun to go out.
	DropOldest
	// DropNewest drops the message that does not fit.
	DropNewest
	// Disconnect closes the connection with ErrOverflow.
	Disconnect
)

var overflowNames = [...]string{"pause", "drop-oldest", "drop-newest", "disconnect"}

// String returns the policy's name, such as "drop-oldest", or the number of a
// value that is none.
func (o Overflow) String() string {
	if int(o) < len(overflowNames) {
		return overflowNames[o]
	}
	return "Overflow(" + strconv.Itoa(int(o)) + ")"
}

// Defaults of Options.
const (
	DefaultMaxInput = 64 << 10
	DefaultQueue    = 64 << 10
)

// Options are the bounds of a connection. One value is meant to be shared by
// all connections of a service (a connection holds a pointer of eight bytes)
// and must not change once it was given to SetOptions.
type Options struct {
	// MaxInput bounds, in bytes, the input that the handler left unconsumed.
	// More ends the connection with ErrInputFull, except while it is paused:
	// then the loop just does not read. Zero means DefaultMaxInput, which is
	// also the most.
	MaxInput int

	// Queue is the high-water mark of the output queue in bytes, LowWater the
	// mark at which a full queue counts as drained. Zero means DefaultQueue and
	// half of Queue. The kernel is asked to hold about as much again, at least
	// 4 KiB. On TCP that counts bytes that have not gone out
	// (TCP_NOTSENT_LOWAT), and one segment more; a connection that has not sent
	// so much in all is not worth the call. On a Unix stream it counts memory,
	// twice as much (SO_SNDBUF). What the peer's own kernel has taken counts
	// nowhere. Of a flood that a Relayer passes on, the kernel may hold 1 MiB
	// that has not gone out. More than 1 GiB counts as 1 GiB, which is also the
	// longest message.
	Queue, LowWater int

	// Overflow is what happens at Queue; the zero value is Pause. A single
	// message is accepted by an empty queue whatever its size, and under Pause
	// by any queue that is below twice Queue.
	Overflow Overflow

	// IdleTimeout ends a connection, with ErrIdle, when no byte has moved
	// either way for that long. Output counts when the kernel takes it, and
	// again when some of it has left the kernel. The loop looks at that four
	// times in a timeout. Time during which reading is paused, output waits or
	// HoldIdle holds does not count. Output that lies in the kernel alone waits
	// in this sense if StallTimeout is zero. Zero means never.
	IdleTimeout time.Duration

	// StallTimeout ends a connection with ErrStalled whose queued output made
	// no progress for that long, in the queue or in the kernel, also while it
	// is being flushed. The end comes at most a quarter of that time later.
	// Zero means never.
	//
	// Neither timeout counts time in which the loop was late. A connection is
	// not ended while the kernel has an event of it that the loop has not
	// served yet.
	StallTimeout time.Duration

	// Exempt keeps the connection from paying for Config.Memory: what it holds
	// counts, but others pay for it. It is for the few connections on which all
	// others depend, such as the pipe to a program that serves them; only their
	// own bounds limit them.
	Exempt bool

	// Farewell is a last message for a client that is closed with ErrOverflow
	// or ErrMemory. It follows the message that has begun to go out, if the
	// client reads within FarewellTimeout. Empty, or a zero timeout, means
	// that such a client is reset at once.
	Farewell        []byte
	FarewellTimeout time.Duration
}

// longest is the most bytes of a queue's mark and of one message: the counts of a
// queue have 32 bits, and it may hold two such marks and a message.
const longest = 1 << 30

// defaultOptions serve connections on which SetOptions was not called.
var defaultOptions = &Options{}

// These methods return the bounds with their defaults. Filling them in once
// would need a copy for each connection, or a shared value that changes under
// its owner.

func (o *Options) maxInput() int {
	if o.MaxInput <= 0 || o.MaxInput > DefaultMaxInput {
		return DefaultMaxInput
	}
	return o.MaxInput
}

func (o *Options) queue() int {
	if o.Queue <= 0 {
		return DefaultQueue
	}
	return min(o.Queue, longest)
}

func (o *Options) lowWater() int {
	if q := o.queue(); o.LowWater <= 0 || o.LowWater >= q {
		return q / 2
	}
	return o.LowWater
}
