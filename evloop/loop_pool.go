// SPDX-License-Identifier: Apache-2.0

package evloop

import "math/bits"

// A pool keeps buffers of powers of two for partial input and queued output,
// so that neither allocates in the steady state and an idle connection owns
// none. It is the loop's own and needs no lock; sync.Pool would be emptied by
// every second garbage collection, just when a quiet daemon becomes busy.
type pool struct {
	free     [poolClasses][][]byte
	messages []*Message
	queues   []*queue // nothing is in them
	cached   int      // bytes in free
}

const (
	poolMin     = 256 // smallest buffer; below it the slice headers would dominate
	poolClasses = 9   // 256 B … 64 KiB
	poolCache   = 256 << 10
	// poolMessages bounds the spare Message headers (some 40 bytes each).
	poolMessages = 1024
	// poolQueues bounds the spare queues (40 bytes each).
	poolQueues = 1024
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

// put takes a buffer of get back. A buffer that does not fit the cache is left
// to the garbage collector.
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

// queue returns a queue in which nothing is.
func (p *pool) queue() *queue {
	if k := len(p.queues); k > 0 {
		q := p.queues[k-1]
		p.queues = p.queues[:k-1]
		return q
	}
	return new(queue)
}

// putQueue takes such a queue back.
func (p *pool) putQueue(q *queue) {
	if len(p.queues) < poolQueues {
		p.queues = append(p.queues, q)
	}
}
