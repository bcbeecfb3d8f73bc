// SPDX-License-Identifier: Apache-2.0

package uring

import (
	"runtime"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestSmoke(t *testing.T) {
	runtime.LockOSThread()
	r, err := New(8, 64)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Enable(); err != nil {
		t.Fatal(err)
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	e := r.Next()
	*e = SQE{Opcode: OpRecv, Flags: BufferSelect, IOPrio: RecvMultishot, FD: int32(fds[0]), UserData: 1}
	if errno := r.Submit(); errno != 0 {
		t.Fatal(errno)
	}
	unix.Write(fds[1], []byte("hello"))
	t.Log(r.Wait(time.Second))
	t.Log(r.Drain(nil))
	b := make([]byte, 1<<20)
	var p runtime.Pinner
	p.Pin(&b[0])
	for range 3 {
		e = r.Next()
		*e = SQE{Opcode: OpSend, FD: int32(fds[0]), UserData: 2, Addr: uint64(uintptr(unsafe.Pointer(&b[0]))), Len: 1 << 20, OpFlags: unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL}
	}
	t.Log(r.Submit(), r.Drain(nil))
	p.Unpin()
}
