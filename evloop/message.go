// SPDX-License-Identifier: Apache-2.0

package evloop

import "math/bits"

// A Message is an immutable run of bytes that any number of connections may
// have in their queues at once: one line to a thousand receivers is stored,
// and charged to the loop's memory bound, once.
type Message struct {
	buf    []byte
	queued int32  // nodes that hold it
	count  uint32 // messages in each of its nodes; 0: made by NewMessage, and shared
}

// NewMessage returns a message that owns p: nobody may change p afterwards.
// It may be made anywhere; queueing it belongs to the loop's goroutine. A message
// that no queue holds any more is the garbage collector's.
func NewMessage(p []byte) *Message { return &Message{buf: p} }

// shared reports whether m may be in several queues. Any other message was made
// by Write and belongs to one queue, and its buffer goes back to the pool.
func (m *Message) shared() bool { return m.count == 0 }

// messageSize is the memory of a Message itself.
const messageSize = 32

// cost is what m takes of the loop's memory bound: its bytes, and for a small
// one of the loop's own the smallest buffer there is. Charged by their length
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

// A pool keeps buffers of powers of two for partial input and queued output,
// so that neither allocates in the steady state and an idle connection owns
// none. It is the loop's own and needs no lock; sync.Pool would be emptied by
// every second garbage collection, just when a quiet daemon becomes busy.
type pool struct {
	free     [poolClasses][][]byte
	messages []*Message
	cached   int // bytes in free
}

const (
	poolMin     = 256 // smallest buffer; below it the slice headers would dominate
	poolClasses = 9   // 256 B … 64 KiB
	poolCache   = 256 << 10
	// poolMessages bounds the spare Message headers (some 40 bytes each).
	poolMessages = 1024
)

// class returns the index of the smallest class of at least n bytes.
func class(n int) int {
	return max(0, bits.Len(uint(n-1))-bits.Len(uint(poolMin-1)))
}

// get returns an empty buffer with room for n bytes.
func (p *pool) get(n int) []byte {
	k := class(n)
	if k >= poolClasses {
		return make([]byte, 0, n)
	}
	if s := p.free[k]; len(s) > 0 {
		b := s[len(s)-1]
		p.free[k] = s[:len(s)-1]
		p.cached -= cap(b)
		return b
	}
	return make([]byte, 0, poolMin<<k)
}

// put takes a buffer of get back. What does not fit the cache is garbage.
func (p *pool) put(b []byte) {
	k := class(cap(b))
	if k >= poolClasses || cap(b) != poolMin<<k || p.cached+cap(b) > poolCache {
		return
	}
	p.cached += cap(b)
	p.free[k] = append(p.free[k], b[:0])
}

// message returns a private message with room for n bytes.
func (p *pool) message(n int) *Message {
	if k := len(p.messages); k > 0 {
		m := p.messages[k-1]
		p.messages = p.messages[:k-1]
		m.buf, m.count = p.get(n), 1
		return m
	}
	return &Message{buf: p.get(n), count: 1}
}

// recycle takes a private message back.
func (p *pool) recycle(m *Message) {
	p.put(m.buf)
	m.buf = nil
	if len(p.messages) < poolMessages {
		p.messages = append(p.messages, m)
	}
}
