// SPDX-License-Identifier: Apache-2.0

// Package uring is io_uring(7) as far as package evloop needs it, on raw
// system calls: one ring, used by one thread, with one group of provided
// buffers. It needs Linux 6.1 and no features beyond it; bundles and
// incremental buffers are left alone.
//
// The ring is set up disabled (IORING_SETUP_R_DISABLED) and enabled on the
// thread that will use it, because IORING_SETUP_SINGLE_ISSUER ties it to that
// one. With IORING_SETUP_DEFER_TASKRUN completions appear only in an
// io_uring_enter that asks for events, so Submit and Wait always ask. There is
// no kernel thread (IORING_SETUP_SQPOLL): it would burn a core of a small
// board.
package uring

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrUnsupported is what New returns where io_uring is not to be used: a
// feature is missing, or the kernel is a 32-bit ARM one, on which rings have
// been seen to lose completions.
var ErrUnsupported = errors.New("io_uring: not supported here")

const (
	entries   = 1024 // requests in one enter
	cqEntries = 4096
)

// A Ring is a pair of queues. Next, Submit, Wait, Drain and the buffers are for
// one thread: the one that called Enable.
type Ring struct {
	sim *Kernel // nil in production
	fd  int

	sqMem, sqeMem []byte // mapped
	sqHead        *uint32
	sqTail        *uint32
	sqFlags       *uint32
	sqes          []SQE
	tail          uint32 // of the submission queue, ahead of *sqTail by what is staged

	cqHead, cqTail *uint32
	cqes           []CQE

	bufMem  []byte // the buffers
	bufRing []byte // the queue by which they are provided
	bufs    []buf
	bufSize int
	bufTail uint16

	enters uint64

	arg getEventsArg
	ts  *timespec // in mapped memory: the kernel reads it during a sleep
}

// New sets a disabled ring up with count provided buffers of size bytes; count
// is a power of two. Errors: ErrUnsupported, and those of io_uring_setup(2),
// io_uring_register(2) and mmap(2) as *os.SyscallError: ENOSYS for a kernel
// without io_uring, EPERM where a sysctl or a filter forbids it, ENOMEM under
// a low RLIMIT_MEMLOCK, to which Linux 6.18 charges a ring and 6.12 does not.
func New(count, size int) (*Ring, error) {
	if runtime.GOARCH == "arm" {
		return nil, fmt.Errorf("%w: 32-bit ARM", ErrUnsupported)
	}
	p := params{
		flags: setupCQSize | setupRDisabled | setupSubmitAll | setupSingleIssuer | setupDeferTaskrun, cqEntries: cqEntries,
	}
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, entries, uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		err := os.NewSyscallError("io_uring_setup", errno)
		if errno == unix.EINVAL { // it does not know one of the flags
			err = fmt.Errorf("%w: older than Linux 6.1: %w", ErrUnsupported, err)
		}
		return nil, err
	}
	r := &Ring{fd: int(fd)}
	if err := r.prepare(&p, count, size); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

func (r *Ring) prepare(p *params, count, size int) error {
	if want := uint32(featSingleMmap | featNoDrop | featExtArg); p.features&want != want {
		return fmt.Errorf("%w: features %#x", ErrUnsupported, p.features)
	}
	if err := r.mapQueues(p); err != nil {
		return err
	}
	if err := r.provide(count, size); err != nil {
		return err
	}
	return r.restrict()
}

func (r *Ring) mapQueues(p *params) (err error) {
	size := max(int(p.sq.array+p.sqEntries*4), int(p.cq.cqes+p.cqEntries*16))
	if r.sqMem, err = unix.Mmap(r.fd, offSQRing, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE); err != nil {
		return os.NewSyscallError("mmap", err)
	}
	if r.sqeMem, err = unix.Mmap(r.fd, offSQEs, int(p.sqEntries)*64, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE); err != nil {
		return os.NewSyscallError("mmap", err)
	}
	at := func(off uint32) unsafe.Pointer { return unsafe.Pointer(&r.sqMem[off]) }
	r.sqHead, r.sqTail, r.sqFlags = (*uint32)(at(p.sq.head)), (*uint32)(at(p.sq.tail)), (*uint32)(at(p.sq.flags))
	r.cqHead, r.cqTail = (*uint32)(at(p.cq.head)), (*uint32)(at(p.cq.tail))
	r.sqes = unsafe.Slice((*SQE)(unsafe.Pointer(&r.sqeMem[0])), p.sqEntries)
	r.cqes = unsafe.Slice((*CQE)(at(p.cq.cqes)), p.cqEntries)
	// The indirection is not used: entry i of the queue is request i.
	for i, array := 0, unsafe.Slice((*uint32)(at(p.sq.array)), p.sqEntries); i < len(array); i++ {
		array[i] = uint32(i)
	}
	return nil
}

// restrict lets the ring do what evloop asks of it and nothing else, even if
// other code gets hold of the descriptor. It takes effect with Enable.
func (r *Ring) restrict() error {
	rs := [...]restriction{
		{opcode: restrictSQEOp, value: OpSend},
		{opcode: restrictSQEOp, value: OpSendmsg},
		{opcode: restrictSQEOp, value: OpRecv},
		{opcode: restrictSQEOp, value: OpPollAdd},
		{opcode: restrictSQEOp, value: OpAsyncCancel},
		{opcode: restrictSQEFlags, value: BufferSelect},
	}
	return r.register(registerRestrictions, unsafe.Pointer(&rs), uint32(len(rs)))
}

// Enable ties the ring to the calling thread and lets it begin.
func (r *Ring) Enable() error {
	if r.sim != nil {
		return nil
	}
	return r.register(registerEnableRings, nil, 0)
}

func (r *Ring) register(op uintptr, arg unsafe.Pointer, n uint32) error {
	_, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), op, uintptr(arg), uintptr(n), 0, 0)
	if errno != 0 {
		return os.NewSyscallError("io_uring_register", errno)
	}
	return nil
}

// Next returns an empty entry to fill in, or nil when the queue is full and a
// Submit is due.
func (r *Ring) Next() *SQE {
	if r.Staged() == len(r.sqes) {
		return nil
	}
	e := &r.sqes[r.tail&uint32(len(r.sqes)-1)]
	*e = SQE{}
	r.tail++
	return e
}

// Staged returns how many entries the kernel has not taken yet.
func (r *Ring) Staged() int { return int(r.tail - atomic.LoadUint32(r.sqHead)) }

// Withdraw takes back what the kernel has not taken, so that no later call hands
// it over.
func (r *Ring) Withdraw() {
	r.tail = atomic.LoadUint32(r.sqHead)
	atomic.StoreUint32(r.sqTail, r.tail)
}

// Submit hands over what is staged and lets deferred work complete, without
// waiting. A raw call: it cannot block.
func (r *Ring) Submit() unix.Errno {
	r.enters++
	atomic.StoreUint32(r.sqTail, r.tail)
	if r.sim != nil {
		return r.sim.Enter(r.Staged(), false, 0)
	}
	_, _, errno := unix.RawSyscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(r.Staged()), 0, enterGetEvents, 0, 0)
	return errno
}

// Wait is Submit, and then waits for a completion, for timeout at most
// (negative: for ever). ETIME says that the timeout has passed.
func (r *Ring) Wait(timeout time.Duration) unix.Errno {
	r.enters++
	atomic.StoreUint32(r.sqTail, r.tail)
	if r.sim != nil {
		return r.sim.Enter(r.Staged(), true, timeout)
	}
	r.arg.ts = 0
	if timeout >= 0 {
		*r.ts = timespec{int64(timeout / time.Second), int64(timeout % time.Second)}
		r.arg.ts = uint64(uintptr(unsafe.Pointer(r.ts)))
	}
	_, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(r.Staged()), 1,
		enterGetEvents|enterExtArg, uintptr(unsafe.Pointer(&r.arg)), unsafe.Sizeof(r.arg))
	return errno
}

// Reap is Submit for a caller that waits for n completions of requests that it
// has cancelled. Newer kernels do about twenty pieces of deferred work in a call,
// or as many as the call waits for. It does not sleep: ETIME says that fewer are
// there.
func (r *Ring) Reap(n int) unix.Errno {
	r.enters++
	atomic.StoreUint32(r.sqTail, r.tail)
	if r.sim != nil {
		return r.sim.Enter(r.Staged(), false, 0)
	}
	*r.ts = timespec{}
	r.arg.ts = uint64(uintptr(unsafe.Pointer(r.ts)))
	_, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(r.Staged()), uintptr(min(n, len(r.cqes))),
		enterGetEvents|enterExtArg, uintptr(unsafe.Pointer(&r.arg)), unsafe.Sizeof(r.arg))
	return errno
}

// Enters returns how many times the kernel was entered by Submit and Wait.
func (r *Ring) Enters() uint64 { return r.enters }

// Drain appends the completions to dst and frees their places.
func (r *Ring) Drain(dst []CQE) []CQE {
	head, tail := atomic.LoadUint32(r.cqHead), atomic.LoadUint32(r.cqTail)
	for ; head != tail; head++ {
		dst = append(dst, r.cqes[head&uint32(len(r.cqes)-1)])
	}
	atomic.StoreUint32(r.cqHead, head)
	return dst
}

// Overflowed reports whether the kernel keeps completions for which the queue
// had no place (IORING_FEAT_NODROP); the next Submit brings them.
func (r *Ring) Overflowed() bool { return atomic.LoadUint32(r.sqFlags)&sqCQOverflow != 0 }

// Close releases the ring and its buffers. Every receive must have ended: the
// kernel would end the rest in the background, and until then write to the
// buffers, or to whatever is mapped in their place by that time.
func (r *Ring) Close() {
	r.Abandon()
	if r.sim == nil {
		unmap(r.bufMem)
	}
}

// Abandon is Close where receives may be under way. It leaves the buffers
// mapped.
func (r *Ring) Abandon() {
	if r.sim != nil {
		return
	}
	unix.Close(r.fd)
	unmap(r.sqMem)
	unmap(r.sqeMem)
	unmap(r.bufRing) // the kernel has pinned the pages
}

func unmap(m []byte) {
	if m != nil {
		_ = unix.Munmap(m)
	}
}
