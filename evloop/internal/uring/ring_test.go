// SPDX-License-Identifier: Apache-2.0

package uring

import (
	"bytes"
	"errors"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// newRing returns an enabled ring, or skips: a sandbox or an older kernel is
// not what these tests are about.
func newRing(t *testing.T, count, size int) *Ring {
	t.Helper()
	r, err := New(count, size)
	if err != nil {
		t.Skipf("this kernel refuses: %v", err)
	}
	t.Cleanup(r.Abandon) // with whatever the test has left under way
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	if err := r.Enable(); err != nil {
		t.Fatal(err)
	}
	return r
}

func pair(t *testing.T) (ours, theirs int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[0]); unix.Close(fds[1]) })
	return fds[0], fds[1]
}

// do hands over one entry and returns what has completed by then.
func do(t *testing.T, r *Ring, e SQE) []CQE {
	t.Helper()
	*r.Next() = e
	if errno := r.Submit(); errno != 0 {
		t.Fatal(errno)
	}
	return r.Drain(nil)
}

func receive(fd int) SQE {
	return SQE{Opcode: OpRecv, Flags: BufferSelect, IOPrio: RecvMultishot, BufGroup: Group, FD: int32(fd), UserData: 1}
}

// A multishot receive goes through every buffer many times over, past the
// point where the 16 bits of the tail wrap.
func TestBuffersWrap(t *testing.T) {
	r := newRing(t, 8, 16)
	ours, theirs := pair(t)
	do(t, r, receive(ours))
	for i := range 70_000 {
		want := []byte{byte(i), byte(i >> 8), byte(i >> 16)}
		if _, err := unix.Write(theirs, want); err != nil {
			t.Fatal(err)
		}
		r.Submit()
		got := r.Drain(nil)
		if len(got) != 1 || got[0].Flags&FlagMore == 0 || got[0].Res != 3 {
			t.Fatalf("message %d: completions %v, want one of 3 bytes and more to come", i, got)
		}
		id, ok := got[0].Buffer()
		if !ok || !bytes.Equal(r.Bytes(id, 3), want) {
			t.Fatalf("message %d: buffer %d holds %v, want %v", i, id, r.Bytes(id, 3), want)
		}
		r.Return(id)
		r.Publish()
	}
}

// Without a buffer the receive ends, and the bytes stay in the socket for the
// next one.
func TestNoBuffers(t *testing.T) {
	r := newRing(t, 2, 4)
	ours, theirs := pair(t)
	do(t, r, receive(ours))
	unix.Write(theirs, []byte("0123456789"))
	r.Submit()
	got := r.Drain(nil)
	if len(got) != 3 || got[2].Res != -int32(unix.ENOBUFS) || got[2].Flags&FlagMore != 0 {
		t.Fatalf("completions %v, want two buffers and ENOBUFS", got)
	}
	for _, c := range got[:2] {
		id, _ := c.Buffer()
		r.Return(id)
	}
	r.Publish()
	got = do(t, r, receive(ours))
	if len(got) != 1 || got[0].Res != 2 {
		t.Errorf("completions %v, want the two bytes that were left", got)
	}
}

// Completions for which the queue has no place are kept and delivered.
func TestCompletionOverflow(t *testing.T) {
	r := newRing(t, 2, 4)
	const rounds = cqEntries/entries + 2
	for i := range rounds * entries {
		e := r.Next()
		e.Opcode, e.Addr, e.UserData = OpAsyncCancel, 1<<40, uint64(i)
		if r.Next() == nil {
			r.Submit()
		} else {
			r.tail--
		}
	}
	r.Submit()
	if !r.Overflowed() {
		t.Fatal("the queue did not overflow")
	}
	var got []CQE
	for r.Overflowed() {
		got = r.Drain(got)
		r.Submit()
	}
	got = r.Drain(got)
	if len(got) != rounds*entries {
		t.Errorf("%d completions, want %d", len(got), rounds*entries)
	}
	if !slices.IsSortedFunc(got, func(a, b CQE) int { return int(a.UserData) - int(b.UserData) }) {
		t.Error("the completions are out of order")
	}
}

// The ring does nothing that evloop does not ask of it.
func TestRestricted(t *testing.T) {
	r := newRing(t, 2, 4)
	const opNop, opClose, async = 0, 19, 1 << 4
	for name, e := range map[string]SQE{
		"an operation": {Opcode: opNop},
		"close":        {Opcode: opClose, FD: -1},
		"a flag":       {Opcode: OpAsyncCancel, Flags: async},
	} {
		if got := do(t, r, e); len(got) != 1 || got[0].Res != -int32(unix.EACCES) {
			t.Errorf("%s: completions %v, want EACCES", name, got)
		}
	}
	if err := r.register(registerPbufRing, nil, 1); !errors.Is(err, unix.EACCES) {
		t.Errorf("register: %v, want EACCES", err)
	}
}

func TestOneThread(t *testing.T) {
	r := newRing(t, 2, 4)
	errnos := make(chan unix.Errno)
	go func() { errnos <- r.Submit() }()
	if errno := <-errnos; errno != unix.EEXIST {
		t.Errorf("Submit on another thread: %v, want EEXIST", errno)
	}
}

func TestWaitTimeout(t *testing.T) {
	r := newRing(t, 2, 4)
	before := time.Now()
	if errno := r.Wait(20 * time.Millisecond); errno != unix.ETIME {
		t.Errorf("Wait: %v, want ETIME", errno)
	}
	if d := time.Since(before); d < 20*time.Millisecond {
		t.Errorf("waited %v, want 20ms", d)
	}
}

func TestRefusesCount(t *testing.T) {
	if r, err := New(3, 4); err == nil {
		r.Close()
		t.Error("took a number of buffers that is no power of two")
	}
}
