// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"testing"

	"golang.org/x/sys/unix"
)

// What the loop itself costs is hidden behind system calls, which take ten times as long
// and never the same time twice. Here they are played: each costs a call of a function,
// whatever the machine, and what is left is the loop.

// played has the calls of l answered at once, from the next turn on. In each turn c has a
// message of size bytes, and what is sent is taken.
func played(b *testing.B, l *Loop, c *Conn, size int) {
	b.Helper()
	clock, waiting := monotonic(), false
	t := newToken(sourceConn, c.slot, c.gen)
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(uint32(t)), Pad: int32(uint32(t >> 32))}
	l.sys.sim = &simulation{
		now: func() Time { clock += 1000; return clock },
		epollWait: func(evs []unix.EpollEvent, _ Time) (int, unix.Errno) {
			evs[0], waiting = event, true
			return 1, 0
		},
		recv: func(_ int, p []byte) (int, bool, unix.Errno) {
			if !waiting {
				return 0, false, unix.EAGAIN
			}
			waiting = false
			return min(size, len(p)), false, 0
		},
		send: func(_ int, pieces [][]byte) (n int, _ unix.Errno) {
			for _, p := range pieces {
				n += len(p)
			}
			return n, 0
		},
	}
	b.Cleanup(func() { l.sys.sim = nil }) // before the loop is closed
}

func turns(b *testing.B, l *Loop) {
	b.ReportAllocs()
	for b.Loop() {
		if err := l.turn(false); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPlayedEcho is one message and its echo.
func BenchmarkPlayedEcho(b *testing.B) {
	l, c, _ := benchPair(b, func(c *Conn, p []byte) int { c.WriteStatic(p); return len(p) })
	played(b, l, c, 64)
	turns(b, l)
}

// lineTo returns the Data of a room: whatever somebody says, each member gets a line.
func lineTo(members *[]*Conn) func(*Conn, []byte) int {
	line := NewMessage([]byte("a line that everybody in the room gets to read\n"))
	return func(_ *Conn, p []byte) int {
		for _, m := range *members {
			m.Send(line)
		}
		return len(p)
	}
}

// BenchmarkPlayedRoom is a line for a hundred members.
func BenchmarkPlayedRoom(b *testing.B) {
	var members []*Conn
	data := lineTo(&members)
	l, speaker, _ := benchPair(b, data)
	for range 100 {
		c, _ := benchConn(b, l, data)
		members = append(members, c)
	}
	played(b, l, speaker, 2)
	turns(b, l)
}
