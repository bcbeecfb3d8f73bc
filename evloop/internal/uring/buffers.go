// SPDX-License-Identifier: Apache-2.0

package uring

import (
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Received bytes go to buffers outside the Go heap: the kernel writes to them
// whenever bytes come, long after the call that provided them, and a request
// that is being cancelled may still do so. Close unmaps them; Abandon leaves
// them, for a ring whose receives may go on. The kernel takes them from a queue
// in shared memory,
//
//	bufs ─► │ id 7 │ id 3 │  …  │      │        tail: one past the last provided
//	           ▲ taken by the kernel     ▲ Return
//
// whose first entry's spare field is the tail.

// Group is the only buffer group, for SQE.BufGroup.
const Group = 0

// provide maps count buffers of size bytes and hands them all to the kernel.
func (r *Ring) provide(count, size int) (err error) {
	page := os.Getpagesize() // 16 KiB on some ARM boards
	round := func(n int) int { return (n + page - 1) &^ (page - 1) }
	anonymous := func(n int) ([]byte, error) {
		m, err := unix.Mmap(-1, 0, round(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		return m, os.NewSyscallError("mmap", err)
	}
	if r.bufMem, err = anonymous(count * size); err != nil {
		return err
	}
	ringSize := round(count * int(unsafe.Sizeof(buf{})))
	if r.bufRing, err = anonymous(ringSize + int(unsafe.Sizeof(timespec{}))); err != nil {
		return err
	}
	r.bufs = unsafe.Slice((*buf)(unsafe.Pointer(&r.bufRing[0])), count)
	r.ts = (*timespec)(unsafe.Pointer(&r.bufRing[ringSize]))
	r.bufSize = size
	reg := bufReg{addr: uint64(uintptr(unsafe.Pointer(&r.bufRing[0]))), entries: uint32(count), group: Group}
	if err := r.register(registerPbufRing, unsafe.Pointer(&reg), 1); err != nil {
		return err
	}
	for id := range count {
		r.Return(uint16(id))
	}
	r.Publish()
	return nil
}

// Bytes returns the first n bytes of a buffer. They are the caller's until
// Return.
func (r *Ring) Bytes(id uint16, n int) []byte {
	at := int(id) * r.bufSize
	return r.bufMem[at : at+n : at+n]
}

// Return gives a buffer back; Publish makes it known to the kernel.
func (r *Ring) Return(id uint16) {
	b := &r.bufs[int(r.bufTail)&(len(r.bufs)-1)]
	b.addr = uint64(uintptr(unsafe.Pointer(&r.bufMem[int(id)*r.bufSize])))
	b.len, b.id = uint32(r.bufSize), id // not b.tail, which in the first entry is the ring's
	r.bufTail++
}

// Publish makes all returned buffers known to the kernel at once.
func (r *Ring) Publish() {
	// The tail is 16 bits and sync/atomic has no such store. Its neighbours in
	// the word are the first entry's id, which is stored as it is: nobody but
	// this thread writes here.
	word := (*uint32)(unsafe.Pointer(&r.bufs[0].id))
	both := [2]uint16{r.bufs[0].id, r.bufTail}
	atomic.StoreUint32(word, *(*uint32)(unsafe.Pointer(&both)))
}
