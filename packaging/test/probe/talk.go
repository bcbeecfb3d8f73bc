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
)

// A talk is what a client and its service say to each other on one connection. begin
// leaves something half said. finish says the rest and reads what is due for it. Both
// fail with the error of the connection if that has ended, and with another one if
// anything came that should not have come.
type talk interface {
	begin(c net.Conn) error
	finish(c net.Conn) error
}

// talks makes them, for the client of that number and its connection of that number.
var talks = map[string]func(number, life int) talk{
	"echo":    func(number, life int) talk { return &echo{random: source(number, life)} },
	"lookup":  func(number, life int) talk { return &lookup{random: source(number, life)} },
	"room":    func(number, life int) talk { return newMember(number, life) },
	"chargen": func(int, int) talk { return &chargen{} },
}

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
