// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/evloop/internal/uring"
)

// The same for the ring, whose kernel is played on the memory that both share. The
// playing takes some 20 ns of each request and result, and is part of the figures.

// playedRing returns a loop on a ring that is played. In each enter, each of its
// connections, which are speakers in number, has a message of size bytes, and what is
// sent is taken.
func playedRing(b *testing.B, speakers, size int, data func(*Conn, []byte) int) *Loop {
	b.Helper()
	var conns []*Conn
	k, clock := &uring.Kernel{}, monotonic()
	sim := &simulation{
		classify: func(int) fdKind { return bothWays | kindSocket | kindTCP },
		now:      func() Time { clock += 1000; return clock },
		epollCtl: func(int, int, uint32, token) error { return nil },
		ring:     func(count, size int) *uring.Ring { return uring.Simulate(k, 1024, 4096, count, size) },
		closeFD:  func(int, bool) {},
	}
	l, err := newLoop(Config{IOUring: &IOUring{}}, sim)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	k.Enter = func(staged int, _ bool, _ time.Duration) unix.Errno {
		for range staged {
			if e := k.Take(); e.Opcode == uring.OpSend {
				k.Post(uring.CQE{UserData: e.UserData, Res: int32(e.Len)})
			}
		}
		for _, c := range conns {
			id, _, _ := k.Buffer()
			k.Fill()
			t := newTag(opRecv, c.slot, c.gen)
			k.Post(uring.CQE{UserData: uint64(t), Res: int32(size), Flags: uint32(id)<<16 | uring.FlagBuffer | uring.FlagMore})
		}
		return 0
	}
	var all []*Conn
	for range speakers {
		all = append(all, playedConn(b, l, data))
	}
	if err := l.turn(false); err != nil { // stages the receives
		b.Fatal(err)
	}
	conns = all
	return l
}

func playedConn(b *testing.B, l *Loop, data func(*Conn, []byte) int) *Conn {
	b.Helper()
	c, err := l.Add(1000+l.conns.used, &dataFunc{f: data}, nil)
	if err != nil {
		b.Fatal(err)
	}
	return c
}

// BenchmarkPlayedRingEcho is twenty messages, which is what Linux does of its deferred
// work in one enter, and their echoes.
func BenchmarkPlayedRingEcho(b *testing.B) {
	turns(b, playedRing(b, 20, 64, func(c *Conn, p []byte) int { c.WriteStatic(p); return len(p) }))
}

// BenchmarkPlayedRingRoom is a line for a hundred members.
func BenchmarkPlayedRingRoom(b *testing.B) {
	var members []*Conn
	data := lineTo(&members)
	l := playedRing(b, 1, 2, data)
	for range 100 {
		members = append(members, playedConn(b, l, data))
	}
	turns(b, l)
}
