// SPDX-License-Identifier: Apache-2.0

package evloop

// A Message is an immutable run of bytes that any number of connections may
// have in their queues at once: one line to a thousand receivers is stored,
// and charged to the loop's memory bound, once.
type Message struct {
	buf    []byte
	queued int32  // nodes that hold it
	count  uint32 // messages in each of its nodes; 0: made by NewMessage, and shared
}

// NewMessage returns a message that owns p: nobody may change p afterwards.
// Any goroutine may make one; queueing it belongs to the loop's goroutine. A message
// that no queue holds any more is the garbage collector's.
func NewMessage(p []byte) *Message { return &Message{buf: p} }

// shared reports whether m may be in several queues. Any other message was made
// by Write and belongs to one queue, and its buffer goes back to the pool.
func (m *Message) shared() bool { return m.count == 0 }

// messageSize is the memory of a Message itself.
const messageSize = 32

// cost is what m takes of the loop's memory bound: its bytes, and for a small
// message made by Write the smallest buffer there is. Charged by their length
// alone, ten-byte replies to clients that do not read would hold twelve times
// what the bound says. For the rest the bound is off by less than a factor of
// two, since the pool rounds up.
func (m *Message) cost() int64 {
	if m.shared() {
		return messageSize + int64(len(m.buf))
	}
	return messageSize + int64(max(len(m.buf), poolMin))
}

// Len returns the number of bytes.
func (m *Message) Len() int { return len(m.buf) }

// Bytes returns the content, which must not be changed.
func (m *Message) Bytes() []byte { return m.buf }
