// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"bytes"
	"math"
	"testing"
)

// FuzzQueue plays a program of queue operations on two connections, so that
// messages are shared and nodes change hands, against a slow model: lists of
// byte strings. The queue must hold the same bytes and the same accounts, and
// never drop what has begun.
func FuzzQueue(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 5, 1, 5, 2, 3, 3, 0, 4, 0})
	f.Add([]byte{0, 200, 0, 20, 2, 7, 3, 0, 3, 0, 0, 9, 2, 255, 2, 255})
	f.Add([]byte{1, 30, 9, 30, 2, 1, 10, 1, 3, 0, 11, 0, 5, 0, 13, 0, 1, 3, 0, 250, 0, 250, 2, 100})
	f.Add(bytes.Repeat([]byte{0, 10, 1, 10, 8, 10, 4, 0, 2, 3, 12, 0, 10, 17}, 20))
	f.Fuzz(func(t *testing.T, program []byte) {
		for _, policy := range []Overflow{Pause, DropOldest} {
			playQueue(t, program, policy)
		}
	})
}

// A modelQueue is what one connection owes: whole messages, of the first of
// which begun bytes are out.
type modelQueue struct {
	messages [][]byte
	begun    int
}

func (m *modelQueue) bytes() []byte {
	b := bytes.Join(m.messages, nil)
	return b[m.begun:]
}

func (m *modelQueue) sent(n int) {
	m.begun += n
	for len(m.messages) > 0 && m.begun >= len(m.messages[0]) {
		m.begun -= len(m.messages[0])
		m.messages = m.messages[1:]
	}
}

// drop removes the oldest or newest message that has not begun.
func (m *modelQueue) drop(oldest bool) bool {
	first := 0
	if m.begun > 0 {
		first = 1
	}
	if len(m.messages) <= first {
		return false
	}
	i := first
	if !oldest {
		i = len(m.messages) - 1
	}
	m.messages = append(m.messages[:i:i], m.messages[i+1:]...)
	return true
}

func playQueue(t *testing.T, program []byte, policy Overflow) {
	l := &Loop{depth: 1} // as inside a callback, so that nothing is settled
	l.be = &epoll{l: l}
	var conns [2]*Conn
	var models [2]modelQueue
	for i := range conns {
		conns[i] = &Conn{loop: l, h: &dataFunc{}, opts: &Options{Overflow: policy}, kind: bothWays | kindSocket, out: &noQueue}
		conns[i].slot, conns[i].gen = l.conns.insert(conns[i])
	}
	var shared *Message
	for next := byte(0); len(program) >= 2; program = program[2:] {
		op, size := program[0]%16, int(program[1])
		c, m := conns[op/8], &models[op/8]
		text := bytes.Repeat([]byte{next}, size+1)
		next++
		switch op % 8 {
		case 0: // a copy
			l.enqueueCopy(c, text)
			m.messages = append(m.messages, text)
		case 1, 6: // shared, half of the time with the other connection
			if shared == nil || op%8 == 1 {
				shared = NewMessage(text)
			}
			l.enqueue(c, shared)
			m.messages = append(m.messages, shared.Bytes())
		case 2: // the kernel takes some
			n := min(size, int(c.out.bytes))
			l.advance(c, n)
			m.sent(n)
		case 3, 4: // drop, where the policy keeps boundaries
			if policy == DropOldest {
				if op%8 == 3 {
					if got, want := l.dropFirst(c), m.drop(true); got != want {
						t.Fatalf("dropFirst = %t, want %t", got, want)
					}
				} else if got, want := l.dropLast(c), m.drop(false); got != want {
					t.Fatalf("dropLast = %t, want %t", got, want)
				}
			}
		case 5:
			l.clearQueue(c)
			*m = modelQueue{}
		case 7: // what is left of a gathered message moves to an empty queue
			if c.out.bytes == 0 {
				l.gather = gather{c: c, pieces: [][]byte{text}, bytes: len(text), begun: true}
				l.spill(c)
				m.messages, m.begun = append(m.messages, append([]byte{0}, text...)), 1
			}
		}
		l.weigh(c) // the queue leaves this to its callers
		checkQueues(t, l, conns[:], models[:])
	}
	for _, c := range conns {
		l.clearQueue(c)
	}
	if l.queued != 0 {
		t.Fatalf("%d bytes charged when everything is gone", l.queued)
	}
}

// checkQueues compares contents and recomputes what is charged.
func checkQueues(t *testing.T, l *Loop, conns []*Conn, models []modelQueue) {
	t.Helper()
	charged, holders := int64(0), map[*Message]int32{}
	for i, c := range conns {
		var got []byte
		off, last := int(c.out.off), uint32(0)
		for n := c.out.head; n != 0; n = l.nodes.nodes[n-1].next {
			m := l.nodes.nodes[n-1].m
			got = append(got, l.nodes.nodes[n-1].data()[off:]...)
			if holders[m] == 0 {
				charged += m.cost()
			}
			holders[m]++
			charged += nodeSize
			off, last = 0, n
		}
		if want := models[i].bytes(); !bytes.Equal(got, want) || int(c.out.bytes) != len(want) {
			t.Fatalf("connection %d holds %d bytes and counts %d, want %d", i, len(got), c.out.bytes, len(want))
		}
		if last != c.out.tail {
			t.Fatalf("connection %d: the tail is node %d, want %d", i, c.out.tail, last)
		}
	}
	if l.queued != charged {
		t.Fatalf("%d bytes charged, want %d", l.queued, charged)
	}
	for m, n := range holders {
		if m.queued != n {
			t.Fatalf("a message says that %d queues hold it, want %d", m.queued, n)
		}
	}
	checkDebtors(t, l, conns)
}

func checkDebtors(t *testing.T, l *Loop, conns []*Conn) {
	t.Helper()
	most := conns[0]
	for _, c := range conns {
		if c.debt() > most.debt() {
			most = c
		}
	}
	got := l.owing.greatest(l)
	if most.debt() == 0 && got != nil || most.debt() > 0 && (got == nil || got.debt()+got.debt()/8 < most.debt()) {
		t.Fatalf("the greatest debtor is %p, want one that owes %d or an eighth less", got, most.debt())
	}
}

// A small message costs what it takes to keep it: its buffer, however little of
// that is used.
func TestMessageCost(t *testing.T) {
	var p pool
	for _, size := range []int{1, 10, poolMin - 1, poolMin, poolMin + 1, 1000, 5000} {
		m := p.message(size)
		m.buf = append(m.buf, make([]byte, size)...)
		if cost, takes := m.cost(), int64(messageSize+cap(m.buf)); cost < takes/2 || size <= poolMin && cost != takes {
			t.Errorf("%d bytes: the cost is %d, and %d are taken", size, cost, takes)
		}
	}
	if shared := NewMessage(make([]byte, 10)); shared.cost() != messageSize+10 {
		t.Errorf("a shared message of 10 bytes costs %d, want %d", shared.cost(), messageSize+10)
	}
}

func TestPool(t *testing.T) {
	var p pool
	for _, tt := range []struct{ size, capacity int }{
		{1, poolMin}, {poolMin, poolMin}, {poolMin + 1, 2 * poolMin}, {64 << 10, 64 << 10}, {64<<10 + 1, 64<<10 + 1},
	} {
		b := p.get(tt.size)
		if len(b) != 0 || cap(b) != tt.capacity {
			t.Errorf("get(%d): length %d, capacity %d; want 0 and %d", tt.size, len(b), cap(b), tt.capacity)
		}
		p.put(append(b, 1))
		if again := p.get(tt.size); len(again) != 0 || cap(again) != tt.capacity {
			t.Errorf("get(%d) again: length %d, capacity %d", tt.size, len(again), cap(again))
		}
	}
	p.put(make([]byte, 0, 1000)) // not one of the pool's
	var many [][]byte
	for range 2 * poolCache / (64 << 10) {
		many = append(many, p.get(64<<10))
	}
	for _, b := range many {
		p.put(b)
	}
	if p.cached > poolCache {
		t.Errorf("%d bytes cached, want at most %d", p.cached, poolCache)
	}
}

func TestOverflowString(t *testing.T) {
	for o, want := range map[Overflow]string{Pause: "pause", DropOldest: "drop-oldest", DropNewest: "drop-newest", Disconnect: "disconnect", 9: "Overflow(9)"} {
		if got := o.String(); got != want {
			t.Errorf("%d: %q, want %q", o, got, want)
		}
	}
}

func TestOptionsMarks(t *testing.T) {
	for _, tt := range []struct {
		name              string
		o                 Options
		input, queue, low int
	}{
		{"defaults", Options{}, DefaultMaxInput, DefaultQueue, DefaultQueue / 2},
		{"given", Options{MaxInput: 10, Queue: 100, LowWater: 20}, 10, 100, 20},
		{"a longer queue than is counted", Options{Queue: math.MaxInt}, DefaultMaxInput, 1 << 30, 1 << 29},
		{"more input than there is room for", Options{MaxInput: 1 << 30}, DefaultMaxInput, DefaultQueue, DefaultQueue / 2},
		{"a low mark that is not below the high one", Options{Queue: 100, LowWater: 100}, DefaultMaxInput, 100, 50},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := [...]int{tt.o.maxInput(), tt.o.queue(), tt.o.lowWater()}; got != [...]int{tt.input, tt.queue, tt.low} {
				t.Errorf("marks %d, want %d %d %d", got, tt.input, tt.queue, tt.low)
			}
		})
	}
}
