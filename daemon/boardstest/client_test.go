// SPDX-License-Identifier: Apache-2.0

package boardstest

import (
	"bufio"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A line is what a speaker says: "a.3 17 TIME", the 17th line of client 3 of board a.
type line struct {
	board   int
	speaker int
	number  int64
	at      int64 // nanoseconds since 1970
}

// parse reads a line; ok is false for those that are of no speaker.
func parse(words []string) (l line, ok bool) {
	if len(words) != 3 {
		return l, false
	}
	board, speaker, found := strings.Cut(words[0], ".")
	l.board = slices.Index(boardNames, board)
	if !found || l.board < 0 {
		return l, false
	}
	var errs [3]error
	l.speaker, errs[0] = strconv.Atoi(speaker)
	l.number, errs[1] = strconv.ParseInt(words[1], 10, 64)
	l.at, errs[2] = strconv.ParseInt(words[2], 10, 64)
	return l, errs == [3]error{} && l.speaker >= 0 && l.speaker < speakers && l.number > 0
}

// A client is one of a board's room. Its name is the same on all boards, so that a name of
// another board clashes.
type client struct {
	net.Conn
	b    *board
	name string
	said atomic.Int64 // the number of the last line
	talk sync.Mutex   // held while a line is written

	mu     sync.Mutex // guards the following
	heard  [][]heard  // by board and speaker
	wrong  []string   // what must not come
	wrongs int
	err    error // why it hears nothing any more
	delays [2][]time.Duration
	timed  bool // delays are noted
}

// A heard is what has come of one speaker.
type heard struct {
	last int64
	gaps []gap
}

// A gap is missing, both ends included.
type gap struct{ from, to int64 }

// The delays of a client are of its own board, and of others.
const (
	near = iota
	far
)

func newClient(w *world, b *board, index int) *client {
	w.t.Helper()
	conn, err := net.Dial("unix", filepath.Join(b.folder, "lobby.sock"))
	if err != nil {
		w.t.Fatal(err)
	}
	c := &client{Conn: conn, b: b, name: fmt.Sprintf("u%d", index), heard: make([][]heard, len(boardNames))}
	for i := range c.heard {
		c.heard[i] = make([]heard, speakers)
	}
	if _, err := fmt.Fprintf(conn, "/nick %s\n", c.name); err != nil {
		w.t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(c.read)
	w.t.Cleanup(func() { _ = conn.Close(); reading.Wait() })
	return c
}

func (c *client) String() string { return c.b.name + "." + strings.TrimPrefix(c.name, "u") }

// say says the next line, and returns its number.
func (c *client) say() int64 {
	c.talk.Lock()
	defer c.talk.Unlock()
	n := c.said.Load() + 1
	if _, err := fmt.Fprintf(c, "%s %d %d\n", c, n, time.Now().UnixNano()); err != nil {
		c.ended(err)
		return n - 1
	}
	c.said.Store(n)
	return n
}

func (c *client) ended(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
}

// read takes what comes until the connection ends.
func (c *client) read() {
	s := bufio.NewScanner(c)
	for s.Scan() {
		words := strings.Fields(s.Text())
		if len(words) == 0 {
			continue
		}
		if l, ok := parse(words[1:]); ok {
			c.hear(words[0], l)
		}
	}
	c.ended(fmt.Errorf("the connection ends: %w", s.Err()))
}

// hear notes a line. Whoever has the same name here is shown with the board.
func (c *client) hear(name string, l line) {
	c.mu.Lock()
	defer c.mu.Unlock()
	where, want := far, fmt.Sprintf("u%d@%s", l.speaker, boardNames[l.board])
	if l.board == c.b.index {
		where, want = near, fmt.Sprintf("u%d", l.speaker)
	}
	h := &c.heard[l.board][l.speaker]
	switch {
	case l.number <= h.last:
		c.note(fmt.Sprintf("%s.%d: %d comes after %d", boardNames[l.board], l.speaker, l.number, h.last))
		return
	case l.number > h.last+1:
		h.gaps = append(h.gaps, gap{h.last + 1, l.number - 1})
	}
	h.last = l.number
	if name != want {
		c.note(fmt.Sprintf("%s.%d: %d is shown as of %s", boardNames[l.board], l.speaker, l.number, name))
	}
	if c.timed {
		c.delays[where] = append(c.delays[where], time.Duration(time.Now().UnixNano()-l.at))
	}
}

// mostWrong is how much is told of what must not come.
const mostWrong = 5

func (c *client) note(text string) {
	if c.wrongs++; len(c.wrong) < mostWrong {
		c.wrong = append(c.wrong, text)
	}
}

// got returns the number of the last line that has come of a speaker.
func (c *client) got(board, speaker int) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.heard[board][speaker].last
}

// missing returns what has not come of a speaker that has said so many lines.
func (c *client) missing(board, speaker int, said int64) []gap {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := &c.heard[board][speaker]
	list := slices.Clone(h.gaps)
	if h.last < said {
		list = append(list, gap{h.last + 1, said})
	}
	return list
}
