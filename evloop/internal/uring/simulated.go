// SPDX-License-Identifier: Apache-2.0

package uring

import (
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Kernel is the other end of a ring, for tests that play the kernel. The seam
// is io_uring_enter(2) and the memory that both ends share: Enter takes the
// place of the call, and the methods do to that memory what a kernel does. The
// ring's own end is the code of production; a second kind of Ring behind an
// interface would not test that code. In production only a nil pointer refers
// to a Kernel.
type Kernel struct {
	// Enter is called with the number of staged entries. wait is set for
	// Ring.Wait, which waits for at most timeout; negative means for ever.
	Enter func(staged int, wait bool, timeout time.Duration) unix.Errno

	r          *Ring
	head, seen uint16 // indexes of provided buffers: the next to fill, the next for Provided to show
}

// Simulate makes a ring that k plays, for up to entries requests in an Enter
// and a queue of completions results, with count provided buffers of size
// bytes. All but size are powers of two.
func Simulate(k *Kernel, entries, completions, count, size int) *Ring {
	shared := make([]uint32, 5)
	r := &Ring{
		sim: k, fd: -1,
		sqHead: &shared[0], sqTail: &shared[1], sqFlags: &shared[2], cqHead: &shared[3], cqTail: &shared[4],
		sqes: make([]SQE, entries), cqes: make([]CQE, completions),
		bufMem: make([]byte, count*size), bufs: make([]buf, count), bufSize: size,
	}
	for id := range count {
		r.Return(uint16(id))
	}
	r.Publish()
	*k = Kernel{Enter: k.Enter, r: r, seen: uint16(count)}
	return r
}

// Peek returns the staged entry i, without taking it.
func (k *Kernel) Peek(i int) SQE {
	return k.r.sqes[(int(*k.r.sqHead)+i)&(len(k.r.sqes)-1)]
}

// Take takes the next staged entry.
func (k *Kernel) Take() SQE {
	e := k.Peek(0)
	atomic.AddUint32(k.r.sqHead, 1)
	return e
}

// Unread returns how many completions wait to be drained.
func (k *Kernel) Unread() int { return int(*k.r.cqTail - atomic.LoadUint32(k.r.cqHead)) }

// Room returns how many more completions the queue takes.
func (k *Kernel) Room() int { return len(k.r.cqes) - k.Unread() }

// Post queues a completion, for which there must be room.
func (k *Kernel) Post(c CQE) {
	tail := *k.r.cqTail
	k.r.cqes[tail&uint32(len(k.r.cqes)-1)] = c
	atomic.StoreUint32(k.r.cqTail, tail+1)
}

// Overflow says whether there are completions for which there was no room.
func (k *Kernel) Overflow(on bool) {
	flags := uint32(0)
	if on {
		flags = sqCQOverflow
	}
	atomic.StoreUint32(k.r.sqFlags, flags)
}

// Buffer returns the next provided buffer, which Fill takes.
func (k *Kernel) Buffer() (id uint16, p []byte, ok bool) {
	if k.head == k.tail() {
		return 0, nil, false
	}
	b := &k.r.bufs[int(k.head)&(len(k.r.bufs)-1)]
	return b.id, unsafe.Slice((*byte)(pointer(b.addr)), b.len), true
}

// Fill takes the buffer that Buffer has returned.
func (k *Kernel) Fill() { k.head++ }

// Provided calls f for each buffer that was returned and published since the
// last call; whole says that address and length are those of the buffer.
func (k *Kernel) Provided(f func(id uint16, whole bool)) {
	for tail := k.tail(); k.seen != tail; k.seen++ {
		b := k.r.bufs[int(k.seen)&(len(k.r.bufs)-1)]
		at := int(b.id) * k.r.bufSize
		f(b.id, at < len(k.r.bufMem) && int(b.len) == k.r.bufSize && pointer(b.addr) == unsafe.Pointer(&k.r.bufMem[at]))
	}
}

// Unpublished returns how many buffers were returned and wait for Publish.
func (k *Kernel) Unpublished() int { return int(k.r.bufTail - k.tail()) }

func (k *Kernel) tail() uint16 {
	word := atomic.LoadUint32((*uint32)(unsafe.Pointer(&k.r.bufs[0].id)))
	return (*(*[2]uint16)(unsafe.Pointer(&word)))[1]
}

// Pieces returns the memory that an OpSend or OpSendmsg is to send.
func (e *SQE) Pieces() [][]byte {
	if e.Opcode == OpSend {
		return [][]byte{unsafe.Slice((*byte)(pointer(e.Addr)), e.Len)}
	}
	m := (*Msghdr)(pointer(e.Addr))
	var pieces [][]byte
	for _, v := range unsafe.Slice((*Iovec)(pointer(uint64(m.Iov))), m.Iovlen) {
		pieces = append(pieces, unsafe.Slice((*byte)(pointer(uint64(v.Base))), v.Len))
	}
	return pieces
}

// pointer follows an address as the kernel does. What it leads to is mapped,
// pinned, or held by the Ring.
func pointer(addr uint64) unsafe.Pointer {
	p := uintptr(addr)
	return *(*unsafe.Pointer)(unsafe.Pointer(&p))
}
