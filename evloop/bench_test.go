// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"bytes"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// These measure the package alone, in one process and on one goroutine: the
// peer's system calls are part of the time. Package bench beside this one
// compares whole servers, with clients in processes of their own.

// benchPair returns a loop that serves one end of a Unix stream with data, and
// the other end.
func benchPair(b *testing.B, data func(*Conn, []byte) int) (*Loop, *Conn, int) {
	b.Helper()
	l, err := New(Config{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	c, peer := benchConn(b, l, data)
	return l, c, peer
}

func benchConn(b *testing.B, l *Loop, data func(*Conn, []byte) int) (*Conn, int) {
	b.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { unix.Close(fds[1]) })
	c, err := l.Add(fds[0], &dataFunc{f: data}, nil)
	if err != nil {
		b.Fatal(err)
	}
	return c, fds[1]
}

// ask sends m, has the loop serve it and reads want bytes of reply.
func ask(b *testing.B, l *Loop, peer int, m, buf []byte, want int) {
	if _, err := unix.Write(peer, m); err != nil {
		b.Fatal(err)
	}
	if err := l.turn(false); err != nil {
		b.Fatal(err)
	}
	if n, err := unix.Read(peer, buf); n != want {
		b.Fatalf("read %d bytes, %v; want %d", n, err, want)
	}
}

func BenchmarkEcho(b *testing.B) {
	for _, size := range []int{64, 4096, 32 << 10} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			l, _, peer := benchPair(b, func(c *Conn, p []byte) int { c.WriteStatic(p); return len(p) })
			m, buf := make([]byte, size), make([]byte, 64<<10)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				ask(b, l, peer, m, buf, size)
			}
		})
	}
}

// BenchmarkPipeline answers sixteen questions of one read.
func BenchmarkPipeline(b *testing.B) {
	answer := []byte("My name is Sir Lancelot of Camelot.")
	l, _, peer := benchPair(b, func(c *Conn, p []byte) (n int) {
		for i := bytes.IndexByte(p, '?'); i >= 0; i = bytes.IndexByte(p[n:], '?') {
			n += i + 1
			c.Write(answer)
		}
		return n
	})
	m, buf := bytes.Repeat([]byte("What is your name?"), 16), make([]byte, 64<<10)
	b.ReportAllocs()
	for b.Loop() {
		ask(b, l, peer, m, buf, 16*len(answer))
	}
}

// BenchmarkRoom sends a shared line to a hundred members.
func BenchmarkRoom(b *testing.B) {
	var members []*Conn
	var peers []int
	line := NewMessage([]byte("a line that everybody in the room gets to read\n"))
	data := func(_ *Conn, p []byte) int {
		for _, m := range members {
			m.Send(line)
		}
		return len(p)
	}
	l, first, speaker := benchPair(b, data)
	members, peers = append(members, first), append(peers, speaker)
	for range 99 {
		c, peer := benchConn(b, l, data)
		members, peers = append(members, c), append(peers, peer)
	}
	m, buf := []byte("go"), make([]byte, 1024)
	b.ReportAllocs()
	for b.Loop() {
		ask(b, l, speaker, m, buf, line.Len())
		for _, peer := range peers[1:] {
			if n, err := unix.Read(peer, buf); n != line.Len() {
				b.Fatal(n, err)
			}
		}
	}
}

// BenchmarkQueue queues a hundred lines for a peer that reads nothing and takes
// them out again in pieces that end within a line, as a kernel with little room
// does: lines shared with others, and copies, each whole or merged.
func BenchmarkQueue(b *testing.B) {
	const lines, piece = 100, 1000
	line := []byte("a line that somebody will read when he has the time\n")
	shared := NewMessage(line)
	for _, way := range []struct {
		name   string
		policy Overflow
		put    func(*Loop, *Conn)
	}{
		{"shared", DropOldest, func(l *Loop, c *Conn) { l.enqueue(c, shared) }},
		{"copied", DropOldest, func(l *Loop, c *Conn) { l.enqueueCopy(c, line) }},
		{"merged", Pause, func(l *Loop, c *Conn) { l.enqueueCopy(c, line) }},
	} {
		b.Run(way.name, func(b *testing.B) {
			l, c, _ := benchPair(b, nil)
			c.SetOptions(&Options{Overflow: way.policy, Queue: 1 << 20})
			b.SetBytes(lines * int64(len(line)))
			b.ReportAllocs()
			for b.Loop() {
				for range lines {
					way.put(l, c)
				}
				for c.out.bytes > 0 {
					l.advance(c, min(piece, int(c.out.bytes)))
				}
			}
		})
	}
}

// BenchmarkTimer arms and cancels one among ten thousand.
func BenchmarkTimer(b *testing.B) {
	l, _, _ := benchPair(b, nil)
	g := &guard{}
	for i := range Time(10_000) {
		l.Schedule(Timer{Deadline: 1<<60 + i*7919%10_000, Handler: g})
	}
	b.ReportAllocs()
	i := Time(0)
	for b.Loop() {
		i++
		if !l.Cancel(l.Schedule(Timer{Deadline: 1<<60 + i*104729%10_000, Handler: g})) {
			b.Fatal("not armed")
		}
	}
}

// BenchmarkPost posts from one goroutine to a loop that runs on another.
func BenchmarkPost(b *testing.B) {
	l, _, _ := benchPair(b, nil)
	done := make(chan error)
	go func() { done <- l.Run() }()
	ran := make(chan struct{}, 1)
	f := func() { ran <- struct{}{} }
	b.ReportAllocs()
	for b.Loop() {
		l.Post(f)
		<-ran
	}
	l.Stop()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}

// BenchmarkSendAtBound sends a line to receivers that are stuck, when all the
// memory is used: the cost of each send must not depend on how many they are.
func BenchmarkSendAtBound(b *testing.B) {
	for _, policy := range []Overflow{DropOldest, DropNewest} {
		for _, receivers := range []int{100, 2000} {
			b.Run(fmt.Sprintf("%v/%d", policy, receivers), func(b *testing.B) {
				l, err := New(Config{Memory: int64(receivers) * 2000})
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { l.Close() })
				o := &Options{Overflow: policy, Queue: 1 << 20}
				conns := make([]*Conn, receivers)
				for i := range conns {
					conns[i], _ = benchConn(b, l, nil)
					conns[i].SetOptions(o)
					for unix.Send(conns[i].FD(), make([]byte, 4096), unix.MSG_DONTWAIT) == nil {
					}
				}
				line := NewMessage([]byte("tick\n"))
				toAll := func() {
					l.enter()
					for _, c := range conns {
						c.Send(line)
					}
					l.leave()
				}
				for range 200 {
					toAll()
				}
				if l.Stats().DroppedMessages == 0 {
					b.Fatal("the bound was not reached")
				}
				b.ReportAllocs()
				for b.Loop() {
					toAll()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*receivers), "ns/send")
			})
		}
	}
}
