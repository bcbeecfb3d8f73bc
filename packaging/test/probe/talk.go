// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
)

// A talk is what a client and its service say to each other on one connection. begin
// leaves something half said. finish says the rest and reads what is due for it. Both
// fail with the error of the connection if that has ended, and with another one if
// anything came that should not have come.
type talk interface {
	begin(c net.Conn) error
	finish(c net.Conn) error
}

// talks returns what makes the talks of a crowd by their kind: for the client of that
// number, and its connection of that number.
func talks() map[string]func(number, life int) talk {
	clock := &clock{}
	return map[string]func(number, life int) talk{
		"echo":    func(number, life int) talk { return &echo{random: source(number, life)} },
		"lookup":  func(number, life int) talk { return &lookup{random: source(number, life)} },
		"room":    func(number, life int) talk { return newMember(number, life) },
		"chargen": func(int, int) talk { return &chargen{} },
		"handler": func(number, life int) talk { return &asker{name: fmt.Sprintf("h%d.%d", number, life)} },
		"ticker":  func(int, int) talk { return &ticker{clock: clock} },
		"lines":   func(int, int) talk { return &listener{} },
		"bridge":  func(number, life int) talk { return newMember(number, life) }, // its program says all back
	}
}

// byOthers are those kinds for whose answers a client waits for others than the service:
// for a program, which is started anew, or for whoever has the next line.
var byOthers = map[string]bool{"handler": true, "bridge": true, "lines": true}

func source(number, life int) *rand.Rand { return rand.New(rand.NewPCG(uint64(number), uint64(life))) }

// read reads as much as want has, and compares what comes as it comes: behind a byte that
// is missing the rest is wrong at once, and the end would not come.
func read(c io.Reader, want []byte) error {
	got := make([]byte, len(want))
	for at := 0; at < len(want); {
		n, err := c.Read(got[at:])
		if !bytes.Equal(got[at:at+n], want[at:at+n]) {
			return fmt.Errorf("got %.60q at %d, want %.60q", got[at:at+n], at, want[at:])
		}
		if at += n; err != nil && at < len(want) {
			return err
		}
	}
	return nil
}

// An echo sends random bytes. The answer to its first half waits unread.
type echo struct {
	random *rand.Rand
	piece  []byte
}

func (e *echo) begin(c net.Conn) error {
	e.piece = make([]byte, 2+e.random.IntN(2000))
	for i := range e.piece {
		e.piece[i] = byte(e.random.Uint32())
	}
	_, err := c.Write(e.piece[:len(e.piece)/2])
	return err
}

func (e *echo) finish(c net.Conn) error {
	if _, err := c.Write(e.piece[len(e.piece)/2:]); err != nil {
		return err
	}
	return read(c, e.piece)
}

// A lookup asks "q17?" and is told "a17.", for each number below 100.
type lookup struct {
	random *rand.Rand
	asked  []int
}

func (l *lookup) begin(c net.Conn) error {
	l.asked = []int{l.random.IntN(100), l.random.IntN(100)}
	_, err := fmt.Fprintf(c, "q%d?q%d", l.asked[0], l.asked[1])
	return err
}

func (l *lookup) finish(c net.Conn) error {
	if _, err := io.WriteString(c, "?"); err != nil {
		return err
	}
	return read(c, fmt.Appendf(nil, "a%d.a%d.", l.asked[0], l.asked[1]))
}

// A member of a room says lines with numbers, and hears those of all. One that is missing,
// or comes twice, shows in the numbers.
type member struct {
	name  string
	said  int
	in    *bufio.Reader
	heard map[string]int // the last number of each member
}

func newMember(number, life int) *member {
	return &member{name: fmt.Sprintf("m%d.%d", number, life), heard: map[string]int{}}
}

func (m *member) begin(c net.Conn) error {
	if m.in == nil {
		m.in = bufio.NewReader(c)
	}
	m.said++
	_, err := fmt.Fprintf(c, "%s ", m.name)
	return err
}

func (m *member) finish(c net.Conn) error {
	if _, err := fmt.Fprintf(c, "%d\n", m.said); err != nil {
		return err
	}
	for m.heard[m.name] < m.said {
		line, err := m.in.ReadString('\n')
		if err != nil {
			return err
		}
		var n int
		name, number, _ := strings.Cut(line, " ")
		if _, err := fmt.Sscanf(number, "%d\n", &n); err != nil {
			return fmt.Errorf("heard %q", line)
		}
		// What others have said before this one came, it has not heard.
		if last, known := m.heard[name]; n != last+1 && (known || name == m.name) {
			return fmt.Errorf("heard %d of %s after %d", n, name, last)
		}
		m.heard[name] = n
	}
	return nil
}

// A chargen reads slowly: its queue is full all the time.
type chargen struct{ at int }

func (*chargen) begin(net.Conn) error { return nil }

func (g *chargen) finish(c net.Conn) error {
	want := make([]byte, 1000)
	for i := range want {
		line, column := (g.at+i)/74, (g.at+i)%74
		switch column {
		case 72:
			want[i] = '\r'
		case 73:
			want[i] = '\n'
		default:
			want[i] = byte(' ' + (line+column)%95)
		}
	}
	g.at += len(want)
	return read(c, want)
}

// An asker has two messages on their way to a program that says them back.
type asker struct {
	name  string
	asked int
}

func (a *asker) begin(c net.Conn) error {
	a.asked += 2
	_, err := fmt.Fprintf(c, "%s %d", a.name, a.asked-1)
	return err
}

func (a *asker) finish(c net.Conn) error {
	if _, err := fmt.Fprintf(c, " one\n%s %d two\n", a.name, a.asked); err != nil {
		return err
	}
	return read(c, fmt.Appendf(nil, "%s %d one\n%s %d two\n", a.name, a.asked-1, a.name, a.asked))
}

// A listener hears lines with numbers, and says nothing.
type listener struct {
	in   *bufio.Reader
	last int
}

func (l *listener) begin(c net.Conn) error {
	if l.in == nil {
		l.in = bufio.NewReader(c)
	}
	return nil
}

// finish waits for a line, and takes all that came with it.
func (l *listener) finish(net.Conn) error {
	for first := true; first || l.in.Buffered() > 0; first = false {
		line, err := l.in.ReadString('\n')
		if err != nil {
			return err
		}
		var n int
		if _, err := fmt.Sscanf(line, "line %d\n", &n); err != nil {
			return fmt.Errorf("heard %q", line)
		}
		if l.last != 0 && n != l.last+1 {
			return fmt.Errorf("heard line %d after %d", n, l.last)
		}
		l.last = n
	}
	return nil
}

// A clock numbers the ticks of a service, which look all the same: its clients compare
// what they have heard, and not when, so that a slow machine does no harm. The service
// gives a tick to all of its clients at once. So who asks for a PONG gets it behind all
// ticks that anybody has heard before.
//
//	a   ── tick ─────── latest = 1 ───────────────────────►
//	b   ───────────── PING ──────────── tick ── PONG ─────►  1, or there is one too few
//
// One that hears a tick twice is ahead of all others, and those have one too few.
type clock struct {
	mu     sync.Mutex
	latest int // the number of the last tick that somebody has heard
	known  int // how many clients know the numbers of what they hear
	time   int // counts questions and answers
	began  int // when the latest question of these began that was answered,
	number int // and the number of the last tick before that answer
}

// A ticker is a client of a service of that kind. A newcomer knows at least how many ticks
// there were. It knows that there were no more when another one, which knows, has asked
// later and was told that number.
type ticker struct {
	clock    *clock
	in       *bufio.Reader
	known    bool
	heard    int // the number of the last tick; at least, if it is not known
	answered int // when it was so
}

func (t *ticker) begin(c net.Conn) error {
	if t.in == nil {
		t.in = bufio.NewReader(c)
	}
	_, err := io.WriteString(c, "PI")
	return err
}

func (t *ticker) finish(c net.Conn) error {
	began, latest := t.ask()
	if _, err := io.WriteString(c, "NG\n"); err != nil {
		return err
	}
	for {
		line, err := t.in.ReadString('\n')
		if err != nil {
			return err
		}
		if line == "+PONG\r\n" {
			return t.answer(began, latest)
		}
		if line != "tick\n" {
			return fmt.Errorf("heard %q", line)
		}
		if t.answered != 0 {
			t.heard++
		}
	}
}

func (t *ticker) ask() (began, latest int) {
	c := t.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	c.time++
	if !t.known && t.answered != 0 && (c.known == 0 || c.began > t.answered && c.number == t.heard) {
		t.known = true
		c.known++
	}
	return c.time, c.latest
}

func (t *ticker) answer(began, latest int) error {
	c := t.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	c.time++
	t.answered = c.time
	if !t.known {
		t.heard = max(t.heard, latest)
		return nil
	}
	if t.heard < latest {
		return fmt.Errorf("heard %d ticks, and another client %d before", t.heard, latest)
	}
	c.latest = max(c.latest, t.heard)
	if began > c.began {
		c.began, c.number = began, t.heard
	}
	return nil
}

// end is called when the connection has ended.
func (t *ticker) end() {
	if t.known {
		t.clock.mu.Lock()
		t.clock.known--
		t.clock.mu.Unlock()
	}
}
