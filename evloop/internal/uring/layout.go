// SPDX-License-Identifier: Apache-2.0

package uring

import "unsafe"

// What is shared with the kernel, from include/uapi/linux/io_uring.h of Linux
// 6.1. x/sys has the system call numbers and nothing else of it. All fields
// lie at their natural alignment, so the layout is one for every architecture.

// An SQE asks for one operation (struct io_uring_sqe).
type SQE struct {
	Opcode   uint8
	Flags    uint8
	IOPrio   uint16 // receive: flags of the operation
	FD       int32
	Off      uint64
	Addr     uint64
	Len      uint32 // of the buffer; poll: flags of the operation
	OpFlags  uint32 // MSG_* of a send or receive, POLL* of a poll, flags of a cancel
	UserData uint64
	BufGroup uint16
	_        [22]byte
}

// A CQE reports one result (struct io_uring_cqe).
type CQE struct {
	UserData uint64
	Res      int32 // what the system call would return, -errno for an error
	Flags    uint32
}

// Buffer returns the number of the provided buffer that a receive filled.
func (c *CQE) Buffer() (id uint16, ok bool) {
	return uint16(c.Flags >> 16), c.Flags&FlagBuffer != 0
}

// Operations.
const (
	OpSendmsg     = 9
	OpPollAdd     = 6
	OpAsyncCancel = 14
	OpSend        = 26
	OpRecv        = 27
)

// Flags of entries and operations.
const (
	BufferSelect  = 1 << 5 // SQE.Flags: take a buffer of SQE.BufGroup
	RecvMultishot = 1 << 1 // SQE.IOPrio
	PollMulti     = 1 << 0 // SQE.Len of OpPollAdd
	CancelAll     = 1 << 0 // SQE.OpFlags of OpAsyncCancel
	CancelFD      = 1 << 1

	FlagBuffer = 1 << 0 // CQE.Flags
	FlagMore   = 1 << 1 // CQE.Flags: a multishot operation goes on
)

const (
	setupCQSize       = 1 << 3
	setupRDisabled    = 1 << 6
	setupSubmitAll    = 1 << 7
	setupSingleIssuer = 1 << 12
	setupDeferTaskrun = 1 << 13

	featSingleMmap = 1 << 0
	featNoDrop     = 1 << 1
	featExtArg     = 1 << 8

	enterGetEvents = 1 << 0
	enterExtArg    = 1 << 3

	registerRestrictions = 11
	registerEnableRings  = 12
	registerPbufRing     = 22

	restrictSQEOp    = 1
	restrictSQEFlags = 2

	sqCQOverflow = 1 << 1 // sq ring flags

	offSQRing = 0
	offSQEs   = 0x10000000
)

type sqOffsets struct {
	head, tail, mask, entries, flags, dropped, array, _ uint32
	_                                                   uint64
}

type cqOffsets struct {
	head, tail, mask, entries, overflow, cqes, flags, _ uint32
	_                                                   uint64
}

type params struct {
	sqEntries, cqEntries, flags, sqThreadCPU, sqThreadIdle, features, wqFD uint32
	_                                                                      [3]uint32
	sq                                                                     sqOffsets
	cq                                                                     cqOffsets
}

type restriction struct {
	opcode uint16
	value  uint8
	_      uint8
	_      [3]uint32
}

type bufReg struct {
	addr    uint64
	entries uint32
	group   uint16
	_       uint16
	_       [3]uint64
}

// buf is an entry of a ring of provided buffers. The tail of that ring lies
// in the last two bytes of its first entry.
type buf struct {
	addr uint64
	len  uint32
	id   uint16
	tail uint16
}

type timespec struct{ sec, nsec int64 }

type getEventsArg struct {
	sigmask   uint64
	sigmaskSz uint32
	_         uint32
	ts        uint64
}

// An Iovec and a Msghdr hold addresses as numbers: they are made in memory
// outside the Go heap, where the garbage collector must find no pointers.
type Iovec struct{ Base, Len uintptr }

// Msghdr is struct msghdr of sendmsg(2).
type Msghdr struct {
	Name       uintptr
	Namelen    uint32
	Iov        uintptr
	Iovlen     uintptr
	Control    uintptr
	Controllen uintptr
	Flags      int32
}

// Each line fails to compile when a size or an offset is not the kernel's: the
// index of a one-element array must be zero.
var (
	_ = [1]struct{}{}[unsafe.Sizeof(SQE{})-64]
	_ = [1]struct{}{}[unsafe.Offsetof(SQE{}.Addr)-16]
	_ = [1]struct{}{}[unsafe.Offsetof(SQE{}.OpFlags)-28]
	_ = [1]struct{}{}[unsafe.Offsetof(SQE{}.UserData)-32]
	_ = [1]struct{}{}[unsafe.Offsetof(SQE{}.BufGroup)-40]
	_ = [1]struct{}{}[unsafe.Sizeof(CQE{})-16]
	_ = [1]struct{}{}[unsafe.Offsetof(CQE{}.Flags)-12]
	_ = [1]struct{}{}[unsafe.Sizeof(sqOffsets{})-40]
	_ = [1]struct{}{}[unsafe.Sizeof(cqOffsets{})-40]
	_ = [1]struct{}{}[unsafe.Sizeof(params{})-120]
	_ = [1]struct{}{}[unsafe.Offsetof(params{}.sq)-40]
	_ = [1]struct{}{}[unsafe.Sizeof(restriction{})-16]
	_ = [1]struct{}{}[unsafe.Sizeof(bufReg{})-40]
	_ = [1]struct{}{}[unsafe.Sizeof(buf{})-16]
	_ = [1]struct{}{}[unsafe.Offsetof(buf{}.tail)-14]
	_ = [1]struct{}{}[unsafe.Sizeof(timespec{})-16]
	_ = [1]struct{}{}[unsafe.Sizeof(getEventsArg{})-24]
	_ = [1]struct{}{}[unsafe.Sizeof(Iovec{})-2*unsafe.Sizeof(uintptr(0))]
)
