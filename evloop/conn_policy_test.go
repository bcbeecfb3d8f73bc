// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// frame makes a message that tells its length and number, so that a reader
// sees whether the stream was cut.
func frame(number, size int) []byte {
	b := bytes.Repeat([]byte{byte(number)}, 8+size)
	binary.BigEndian.PutUint32(b, uint32(size))
	binary.BigEndian.PutUint32(b[4:], uint32(number))
	return b
}

// unframe returns the numbers of the whole messages in b.
func unframe(b []byte) (numbers []int, err error) {
	for len(b) > 0 {
		if len(b) < 8 || len(b) < 8+int(binary.BigEndian.Uint32(b)) {
			return numbers, errors.New("cut at the end")
		}
		size, number := int(binary.BigEndian.Uint32(b)), int(binary.BigEndian.Uint32(b[4:]))
		if len(numbers) > 0 && number <= numbers[len(numbers)-1] {
			return numbers, fmt.Errorf("message %d after %d", number, numbers[len(numbers)-1])
		}
		if !bytes.Equal(b[8:8+size], bytes.Repeat([]byte{byte(number)}, size)) {
			return numbers, fmt.Errorf("message %d is damaged", number)
		}
		numbers = append(numbers, number)
		b = b[8+size:]
	}
	return numbers, nil
}

// writers are the ways to queue a message.
var writers = map[string]func(*Conn, []byte) bool{
	"Write":       (*Conn).Write,
	"WriteStatic": (*Conn).WriteStatic,
	"Send":        func(c *Conn, b []byte) bool { return c.Send(NewMessage(b)) },
}

// Dropping keeps whole messages and never cuts the wire.
func TestLoopDropWhole(t *testing.T) { eachBackend(t, dropWhole) }

func dropWhole(r *rig) {
	const total = 5000
	for _, policy := range []Overflow{DropOldest, DropNewest} {
		for name, write := range writers {
			c, p := r.unix()
			unix.SetsockoptInt(c.FD(), unix.SOL_SOCKET, unix.SO_SNDBUF, 4096)
			c.SetOptions(&Options{Queue: 10_000, Overflow: policy})
			var got []byte
			for i := 0; i < total; {
				r.do(func() {
					for range 1 + i%90 {
						write(c, frame(i, (i*37)%1500))
						i++
						if n := c.Queued(); n > 10_000 {
							r.Fatalf("%v, %s: %d bytes queued, want at most 10000", policy, name, n)
						}
					}
				})
				if i%7 == 0 {
					got = append(got, p.read()...)
				}
			}
			r.spin("an empty queue", func() bool {
				got = append(got, p.read()...)
				return c.Queued() == 0
			})
			got = append(got, p.read()...)
			numbers, err := unframe(got)
			if err != nil {
				r.Fatalf("%v, %s: %v", policy, name, err)
			}
			h := r.of(c)
			last := numbers[len(numbers)-1]
			if c.Dropped() == 0 || uint64(h.messages) != c.Dropped() {
				r.Errorf("%v, %s: Dropped() = %d, reported %d", policy, name, c.Dropped(), h.messages)
			}
			if sent := len(numbers) + h.messages; sent < total || sent > total+90 {
				r.Errorf("%v, %s: %d came and %d were dropped, want all of %d", policy, name, len(numbers), h.messages, total)
			}
			if policy == DropOldest && last < total-1 {
				r.Errorf("%s: the last message to come is %d, want the newest", name, last)
			}
		}
	}
}

// The rest of a gathered message is not dropped.
func TestLoopDropAfterGather(t *testing.T) { eachBackend(t, dropAfterGather) }

// The first message is larger than the socket takes, so that its rest comes
// to the queue by way of the gathered send.
func dropAfterGather(r *rig) {
	for _, policy := range []Overflow{DropOldest, DropNewest, Disconnect} {
		c, p := r.unix()
		unix.SetsockoptInt(c.FD(), unix.SOL_SOCKET, unix.SO_SNDBUF, 4096)
		c.SetOptions(&Options{Queue: 64 << 10, Overflow: policy, Farewell: frame(9, 1), FarewellTimeout: patience})
		r.do(func() { c.Write(frame(1, 30_000)) })
		if c.Queued() == 0 || c.BytesOut() == 0 {
			r.Fatalf("%d bytes sent, %d queued; the test needs both", c.BytesOut(), c.Queued())
		}
		r.do(func() {
			for i := range 6 {
				c.Write(frame(2+i, 20_000))
			}
		})
		var got []byte
		r.spin("the output", func() bool {
			got = append(got, p.read()...)
			return c.Queued() == 0
		})
		numbers, err := unframe(append(got, p.read()...))
		if err != nil || len(numbers) < 2 || numbers[0] != 1 {
			r.Errorf("%v: messages %v, %v; want the first and more, all whole", policy, numbers, err)
		}
		p.close()
	}
}

// An empty queue takes a message of any size.
func TestLoopDropNotWhenEmpty(t *testing.T) { eachBackend(t, dropNotWhenEmpty) }

func dropNotWhenEmpty(r *rig) {
	for _, policy := range []Overflow{Pause, DropOldest, DropNewest, Disconnect} {
		for name, write := range writers {
			c, p := r.unix()
			c.SetOptions(&Options{Queue: 1000, Overflow: policy})
			want := frame(1, 300_000)
			r.do(func() {
				if !write(c, want) {
					r.Errorf("%v, %s: refused", policy, name)
				}
			})
			r.gets(p, want)
		}
	}
}

// Each Write is a message of its own to the policy.
func TestLoopDropSingly(t *testing.T) { eachBackend(t, dropSingly) }

// Ten messages of one callback, of which the kernel takes none, are gathered
// first; they are dropped one by one all the same.
func dropSingly(r *rig) {
	for name, write := range writers {
		c, p := r.unix()
		c.SetOptions(&Options{Queue: 1080, Overflow: DropOldest})
		want := r.clog(c)
		r.do(func() {
			for i := range 10 {
				write(c, frame(i, 100))
			}
		})
		r.do(func() {
			for i := range 3 {
				write(c, frame(10+i, 100))
			}
		})
		for i := range 10 {
			want = append(want, frame(3+i, 100)...)
		}
		if h := r.of(c); h.messages != 3 || h.bytes != 3*108 {
			r.Errorf("%s: reported %d messages of %d bytes, want 3 of %d", name, h.messages, h.bytes, 3*108)
		}
		r.gets(p, want)
	}
}

// A message behind one that fills the queue is dropped.
func TestLoopDropBehindHuge(t *testing.T) { eachBackend(t, dropBehindHuge) }

func dropBehindHuge(r *rig) {
	for _, policy := range []Overflow{DropOldest, DropNewest} {
		c, p := r.unix()
		unix.SetsockoptInt(c.FD(), unix.SOL_SOCKET, unix.SO_SNDBUF, 4096)
		c.SetOptions(&Options{Queue: 1000, Overflow: policy})
		huge := frame(1, 100_000)
		r.do(func() { c.Write(huge) })
		r.do(func() {
			if c.Write(frame(2, 10)) {
				r.Errorf("%v: took a message behind one that fills the queue", policy)
			}
		})
		r.gets(p, huge)
		if h := r.of(c); h.messages != 1 || h.bytes != 18 {
			r.Errorf("%v: reported %d messages of %d bytes, want 1 of 18", policy, h.messages, h.bytes)
		}
	}
}

// What the kernel takes at once is no overflow.
func TestLoopNoOverflowWhileItFlows(t *testing.T) { eachBackend(t, noOverflowWhileItFlows) }

// A callback may write more than the queue's bound to a peer that reads: the
// kernel is asked before anything is dropped.
func noOverflowWhileItFlows(r *rig) {
	for _, policy := range []Overflow{DropOldest, DropNewest, Disconnect} {
		c, p := r.tcp()
		c.SetOptions(&Options{Queue: 1000, Overflow: policy})
		var want []byte
		r.do(func() {
			for i := range 50 {
				m := frame(i, 700)
				if !c.Write(m) {
					r.Fatalf("%v: dropped message %d", policy, i)
				}
				want = append(want, m...)
			}
		})
		r.gets(p, want)
	}
}

// A message that cannot fit drops no other.
func TestLoopDropNothingInVain(t *testing.T) { eachBackend(t, dropNothingInVain) }

// What has begun and the new message are more than the queue takes, so that
// dropping what lies between them would make no room.
func dropNothingInVain(r *rig) {
	for name, write := range writers {
		c, p := r.unix()
		unix.SetsockoptInt(c.FD(), unix.SOL_SOCKET, unix.SO_SNDBUF, 4096)
		c.SetOptions(&Options{Queue: 20_000, Overflow: DropOldest})
		want := frame(1, 16_000)
		r.do(func() { write(c, want) })
		if c.BytesOut() == 0 || c.Queued() < 5000 {
			r.Fatalf("%d bytes sent, %d queued; the test needs a part", c.BytesOut(), c.Queued())
		}
		r.do(func() {
			for i := range 3 {
				write(c, frame(2+i, 500))
				want = append(want, frame(2+i, 500)...)
			}
			if write(c, frame(5, 19_000)) {
				r.Errorf("%s: took a message for which there is no room", name)
			}
		})
		if h := r.of(c); h.messages != 1 || h.bytes != 19_008 {
			r.Errorf("%s: reported %d messages of %d bytes, want the new one alone", name, h.messages, h.bytes)
		}
		r.gets(p, want)
	}
}

// A Dropped that writes lets the others have their turn.
func TestLoopDroppedWrites(t *testing.T) { eachBackend(t, droppedWrites) }

func droppedWrites(r *rig) {
	for _, policy := range []Overflow{DropOldest, DropNewest} {
		o := &Options{Queue: 1000, Overflow: policy}
		conns, _ := r.stuckConns(2, o)
		r.onDropped = func(*Conn) {
			if r.of(conns[0]).reports > 1000 {
				r.Fatal("Dropped is called for ever")
			}
			for _, c := range conns {
				c.Write(make([]byte, 400))
				c.Write(make([]byte, 400))
			}
		}
		r.do(func() {
			for range 3 {
				conns[0].Write(make([]byte, 400))
			}
		})
		before := r.of(conns[0]).reports + r.of(conns[1]).reports
		r.turn()
		r.turn()
		if n := r.of(conns[0]).reports + r.of(conns[1]).reports - before; n < 1 || n > 4 {
			r.Errorf("%v: Dropped was called %d times in two turns, want once a turn for each connection at most", policy, n)
		}
		r.onDropped = nil
		r.turn()
		r.turn()
		for _, c := range conns {
			if h := r.of(c); uint64(h.messages) != c.Dropped() {
				r.Errorf("%v: Dropped() = %d, reported %d", policy, c.Dropped(), h.messages)
			}
		}
	}
}

// Pause refuses what comes beyond twice the queue.
func TestLoopPauseIsBounded(t *testing.T) { eachBackend(t, pauseIsBounded) }

// A handler that never asks whether the queue is full is bounded all the same.
// A handler that asks loses nothing, whatever the size of its last message.
func pauseIsBounded(r *rig) {
	const size = 1000
	for name, write := range writers {
		c, _ := r.unix()
		r.clog(c)
		taken, refused := 0, 0
		r.do(func() {
			for !c.Full() {
				if !write(c, make([]byte, size)) {
					r.Errorf("%s: refused before the queue was full", name)
				}
				taken++
			}
			for range 1000 {
				if write(c, make([]byte, size)) {
					taken++
				} else {
					refused++
				}
			}
		})
		if n := c.Queued(); n != taken*size || n < 2*DefaultQueue || n >= 2*DefaultQueue+size {
			r.Errorf("%s: %d bytes queued, want twice the queue and no whole message more", name, n)
		}
		if h := r.of(c); h.messages != refused || refused == 0 || h.bytes != refused*size {
			r.Errorf("%s: %d messages refused, %d reported", name, refused, h.messages)
		}
	}
	c, p := r.unix()
	c.SetOptions(&Options{Queue: 1000})
	want := r.clog(c)
	r.do(func() {
		c.Write(make([]byte, 999))
		if !c.Write(make([]byte, 100_000)) {
			r.Error("a queue that was not full refused a message")
		}
	})
	r.gets(p, append(want, make([]byte, 100_999)...))
}
