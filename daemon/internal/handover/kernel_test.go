// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"errors"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// The rules of the kernel on which this package stands, each shown by itself.

// bareQueue opens a queue of n messages, each with two of the connections.
func bareQueue(t *testing.T, n int) (reader int, want []uint64) {
	t.Helper()
	q := newQueue(t)
	list := forms[1].pairs(t, 2*n)
	for i := range n {
		must(q.send(2, servers(list[2*i:2*i+2])))
	}
	want = cookies(t, servers(list))
	end(q, list)
	return q.reader, want
}

// receive returns the cookies that came with a message, or the errno.
func receive(t *testing.T, fd, flags int) ([]uint64, error) {
	t.Helper()
	control := make([]byte, controlSize)
	n, cn, _, _, err := unix.Recvmsg(fd, make([]byte, 2), control, flags|unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	if err != nil || n == 0 {
		return nil, err
	}
	fds := rights(control[:cn])
	defer closeAll(fds)
	return cookies(t, fds), nil
}

// TestKernelPeek: without an offset a peek shows the first message for ever; with one it
// walks, and brings the rights each time. The offset outlives the one who has set it.
func TestKernelPeek(t *testing.T) {
	fd, want := bareQueue(t, 5)
	for range 3 {
		if got, err := receive(t, fd, unix.MSG_PEEK); !slices.Equal(got, want[:2]) {
			t.Fatalf("peek without offset: %v, %v; want %v", got, err, want[:2])
		}
	}
	for range 2 {
		must(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF, 0))
		for i := range 5 {
			if got, err := receive(t, fd, unix.MSG_PEEK); !slices.Equal(got, want[2*i:2*i+2]) {
				t.Fatalf("peek %d: %v, %v; want %v", i, got, err, want[2*i:2*i+2])
			}
		}
		// The writer has gone: 0 bytes and no error, as of a queue with nothing in it.
		if got, err := receive(t, fd, unix.MSG_PEEK); got != nil || err != nil {
			t.Fatalf("peek behind the end: %v, %v", got, err)
		}
	}
	must(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF, 3))
	if got, err := receive(t, fd, unix.MSG_PEEK); !slices.Equal(got, want[6:8]) {
		t.Fatalf("peek at offset 3: %v, %v; want %v", got, err, want[6:8])
	}
	if got, err := receive(t, fd, 0); !slices.Equal(got, want[:2]) {
		t.Fatalf("read: %v, %v; want the first message", got, err)
	}
}

// TestKernelOffsetHides: while the writer lives, a second reader that does not set the
// offset gets EAGAIN, as if the queue were empty.
func TestKernelOffsetHides(t *testing.T) {
	q, list := newQueue(t), forms[1].pairs(t, 2)
	must(q.send(2, servers(list)))
	other := get(unix.FcntlInt(uintptr(q.reader), unix.F_DUPFD_CLOEXEC, 0))
	defer unix.Close(other)
	must(unix.SetsockoptInt(q.reader, unix.SOL_SOCKET, unix.SO_PEEK_OFF, 0))
	if got, err := receive(t, q.reader, unix.MSG_PEEK); len(got) != 2 {
		t.Fatalf("peek: %v, %v", got, err)
	}
	if got, err := receive(t, other, unix.MSG_PEEK); err != unix.EAGAIN {
		t.Fatalf("second peek: %v, %v; want EAGAIN", got, err)
	}
}

// TestKernelMostRights: 253 descriptors fit into a message, 254 do not.
func TestKernelMostRights(t *testing.T) {
	q := newQueue(t)
	fds := slices.Repeat([]int{q.writer}, 254)
	if err := q.send(253, fds[:253]); err != nil {
		t.Errorf("253 descriptors: %v", err)
	}
	if err := q.send(254, fds); err != unix.EINVAL {
		t.Errorf("254 descriptors: %v, want EINVAL", err)
	}
}

// TestKernelRoom: a queue takes more messages than the 33 of 8,000 connections by far,
// whatever net.unix.max_dgram_qlen is.
func TestKernelRoom(t *testing.T) {
	q := newQueue(t)
	n := 0
	for ; n < 1<<20; n++ {
		if err := q.send(1, nil); err == unix.EAGAIN {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if n < 250 || n == 1<<20 {
		t.Errorf("%d messages fit", n)
	}
}

// TestKernelSeals: the file of records cannot be changed by anybody who gets it.
func TestKernelSeals(t *testing.T) {
	fd := get(writeFile(Header{}, []byte("records")))
	defer unix.Close(fd)
	if _, err := unix.Pwrite(fd, []byte("x"), 0); err != unix.EPERM {
		t.Errorf("write = %v, want EPERM", err)
	}
	if err := unix.Ftruncate(fd, 0); err != unix.EPERM {
		t.Errorf("ftruncate = %v, want EPERM", err)
	}
	if got := get(unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)); got&seals != seals {
		t.Errorf("seals %#x, want %#x", got, seals)
	}
}

// TestKernelPassRights: a queue on whose reader's end SO_PASSRIGHTS was cleared takes
// nothing more; what is in it can be peeked (Linux 6.16).
func TestKernelPassRights(t *testing.T) {
	q, list := newQueue(t), forms[1].pairs(t, 2)
	must(q.send(1, servers(list[:1])))
	err := unix.SetsockoptInt(q.reader, unix.SOL_SOCKET, unix.SO_PASSRIGHTS, 0)
	if errors.Is(err, unix.ENOPROTOOPT) {
		t.Skip("no SO_PASSRIGHTS")
	}
	must(err)
	if err := q.send(1, servers(list[1:])); err != unix.EPERM {
		t.Errorf("send = %v, want EPERM", err)
	}
	if got, err := receive(t, q.reader, unix.MSG_PEEK); len(got) != 1 {
		t.Errorf("peek: %v, %v", got, err)
	}
}

// TestKernelGarbage: the collector of sockets in flight runs while only the queue holds
// Unix connections, and spares them. That it has run is seen by a pipe that was part of
// the garbage.
func TestKernelGarbage(t *testing.T) {
	for _, f := range forms[1:] {
		q, list := newQueue(t), f.pairs(t, 100)
		fill(t, q, "", list)
		for range 20 {
			var pipe [2]int
			must(unix.Pipe2(pipe[:], unix.O_CLOEXEC))
			loop := get(unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
			// A socket that holds itself unread: nobody can reach it once it is closed.
			must(unix.Sendmsg(loop[0], []byte("x"), unix.UnixRights(loop[1], pipe[1]), nil, 0))
			closeAll([]int{loop[0], loop[1], pipe[1]})
			// The end of another Unix socket starts the collector.
			other := get(unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
			closeAll(other[:])
			if got := await(t, pipe[0], unix.POLLIN); got&unix.POLLHUP == 0 {
				t.Fatalf("pipe: events %#x", got)
			}
			unix.Close(pipe[0])
			mustPeek(t, q.reader).Discard()
		}
		p := adopt(t, q)
		for i, fd := range p.FDs {
			wantAlive(t, list[i].client, fd)
		}
	}
}
