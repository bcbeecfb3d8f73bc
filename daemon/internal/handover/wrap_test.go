// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestWrap: what is no socket goes through a queue, and comes out again after a process
// has looked at it and died.
func TestWrap(t *testing.T) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[1])
	socket, err := Wrap(pipe[0])
	unix.Close(pipe[0])
	if err != nil {
		t.Fatal(err)
	}
	cookie, err := Cookie(socket)
	if err != nil {
		t.Fatal(err)
	}
	q, err := NewQueue()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.Fill(Header{}, nil, []int{socket}); err != nil {
		t.Fatal(err)
	}
	unix.Close(socket)
	reader, err := unix.FcntlInt(uintptr(q.Reader()), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	q.Close()
	for round := range 2 { // the first process dies
		p, err := Peek(reader)
		if err != nil || len(p.FDs) != 1 {
			t.Fatalf("round %d: %v, %v", round, p, err)
		}
		if places := p.Match([]Conn{{Cookie: cookie}}); places[0] != 0 {
			t.Errorf("round %d: the socket is at %v", round, places)
		}
		fd, err := Unwrap(p.FDs[0])
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if _, err := unix.Write(pipe[1], []byte{byte(round)}); err != nil {
			t.Fatal(err)
		}
		var b [2]byte
		if n, err := unix.Read(fd, b[:]); n != 1 || err != nil || b[0] != byte(round) {
			t.Errorf("round %d: read %d, %v, %v", round, n, err, b)
		}
		unix.Close(fd)
		if round == 1 {
			if err := p.Commit(); err != nil {
				t.Error(err)
			}
		}
		p.Discard()
	}
	if _, err := unix.Write(pipe[1], []byte{0}); err != unix.EPIPE {
		t.Errorf("somebody still has it: %v, want EPIPE", err)
	}
}

// TestUnwrapNothing: a socket without a descriptor in it is an error.
func TestUnwrapNothing(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	if fd, err := Unwrap(pair[1]); err == nil {
		t.Errorf("Unwrap of an empty socket = %d", fd)
	}
	if err := unix.Sendmsg(pair[0], []byte{0}, nil, nil, 0); err != nil {
		t.Fatal(err)
	}
	if fd, err := Unwrap(pair[1]); err == nil {
		t.Errorf("Unwrap of a message without a descriptor = %d", fd)
	}
}
