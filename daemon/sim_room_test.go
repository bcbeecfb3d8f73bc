// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"bytes"
	"fmt"
	"strings"
)

// A room has one order of lines. A member that always reads hears it, and what every
// other one has got must be a part of that without a gap: from where it came in to
// where it left. What is said to one member alone lies in between.

var simRoom = &simKind{name: "room", listens: true, say: sayInRoom}

var simNames = []string{"ann", "bob", "Cyd", "ANN", "dan"}

// sayInRoom returns a line that names its speaker and its place.
func sayInRoom(w *simWorld, c *simClient) string {
	text := fmt.Sprintf("c%d.%d", c.id, len(c.said))
	switch w.rng.IntN(8) {
	case 0:
		return "/nick " + simNames[w.rng.IntN(len(simNames))]
	case 1:
		return "/who"
	case 2:
		return "/me " + text
	case 3:
		return text + strings.Repeat(".", w.rng.IntN(300))
	}
	return text
}

// A simRoomLog is what the witness has heard, and what follows from it.
type simRoomLog struct {
	lines []string
	bytes []int // of the lines before, and of all
	here  []int // members before each line, and at the end
	talk  []int // lines that a history keeps
	came  map[*simClient]int
	left  map[*simClient]int
	own   map[*simClient]int // the last line that c has said
	nicks map[string][]simHeld

	names map[*simClient]string // of those who are in
	said  map[*simClient]int    // the next message of c that may come
}

// A simHeld is the time in lines for which somebody holds a name.
type simHeld struct {
	c        *simClient
	from, to int
}

// holder returns who has the name before line i.
func (l *simRoomLog) holder(name string, i int) *simClient {
	for _, h := range l.nicks[strings.ToLower(name)] {
		if h.from < i && i <= h.to {
			return h.c
		}
	}
	return nil
}

// roomLog reads what the witness has got.
func (w *simWorld) roomLog() (*simRoomLog, error) {
	l := &simRoomLog{
		came: map[*simClient]int{}, left: map[*simClient]int{}, own: map[*simClient]int{},
		nicks: map[string][]simHeld{}, names: map[*simClient]string{}, said: map[*simClient]int{},
	}
	text, ok := strings.CutPrefix(string(w.listeners.got), "hi\n")
	if !ok {
		return nil, notYet("the witness has no welcome")
	}
	l.names[w.listeners] = w.listeners.peer
	sum := 0
	lines := strings.SplitAfter(text, "\n")
	for i, line := range lines[:len(lines)-1] {
		l.bytes, l.here = append(l.bytes, sum), append(l.here, len(l.names))
		sum += len(line)
		line = strings.TrimSuffix(line, "\n")
		l.lines = append(l.lines, line)
		if err := l.hear(w, i, line); err != nil {
			return nil, fmt.Errorf("line %d of the room, %q: %w", i, line, err)
		}
	}
	l.bytes, l.here = append(l.bytes, sum), append(l.here, len(l.names))
	return l, nil
}

// by returns who is in by that name.
func (l *simRoomLog) by(name string) *simClient {
	for c, n := range l.names {
		if n == name {
			return c
		}
	}
	return nil
}

func (l *simRoomLog) hear(w *simWorld, i int, line string) error {
	switch {
	case strings.HasPrefix(line, "+"):
		for _, c := range w.clients {
			if c.peer == line[1:] && c.kind == simRoom && c != w.listeners {
				if _, before := l.came[c]; before {
					return errTwice
				}
				l.came[c], l.names[c] = i, c.peer
				return nil
			}
		}
		return fmt.Errorf("nobody is there")
	case strings.HasPrefix(line, "-"):
		c := l.by(line[1:])
		if c == nil {
			return errTwice
		}
		l.left[c] = i
		l.release(c, i)
		delete(l.names, c)
		return nil
	case strings.HasPrefix(line, "* "):
		old, name, _ := strings.Cut(line[2:], " is now ")
		c := l.by(old)
		if c == nil {
			return errTwice
		}
		if h := l.holder(name, i); h != nil && h != c {
			return fmt.Errorf("the name is that of client %d", h.id)
		}
		l.release(c, i)
		key := strings.ToLower(name)
		l.nicks[key] = append(l.nicks[key], simHeld{c, i, 1 << 30})
		l.names[c], l.own[c] = name, i
		return l.follows(c, "/nick "+name)
	case strings.HasPrefix(line, "~ "):
		return l.speaks(i, line[2:], " ", "/me ")
	}
	return l.speaks(i, line, ": ", "")
}

// release ends the time for which c holds a name.
func (l *simRoomLog) release(c *simClient, i int) {
	for _, held := range l.nicks {
		for j := range held {
			if held[j].c == c && held[j].to > i {
				held[j].to = i
			}
		}
	}
}

// speaks takes a line of the form NAME CUT TEXT, for which its speaker has said PREFIX TEXT.
func (l *simRoomLog) speaks(i int, line, cut, prefix string) error {
	name, text, _ := strings.Cut(line, cut)
	c := l.by(name)
	if c == nil {
		return fmt.Errorf("nobody has the name")
	}
	l.talk, l.own[c] = append(l.talk, i), i
	return l.follows(c, prefix+text)
}

// follows takes the next message of c that all have to hear, which must be this one.
// Others that only c is answered to, if at all, may come before it.
func (l *simRoomLog) follows(c *simClient, text string) error {
	for ; l.said[c] < len(c.said); l.said[c]++ {
		said := c.said[l.said[c]].text
		if said == text || c.cut(l.said[c], text) {
			l.said[c]++
			return nil
		}
		if said != "/who" && !strings.HasPrefix(said, "/nick ") {
			return fmt.Errorf("before %q of client %d", said, c.id)
		}
	}
	return errTwice
}

// check compares what c has got with what was to be heard.
func (l *simRoomLog) check(w *simWorld, c *simClient) error {
	if c == w.listeners {
		return nil
	}
	all := strings.SplitAfter(string(c.got), "\n")
	mine := all[:len(all)-1]
	at, in := l.came[c]
	if !in {
		return notYet("nobody has heard that it has come")
	}
	want := []string{"hi\n"}
	for _, i := range l.kept(w, at) {
		want = append(want, l.lines[i]+"\n")
	}
	for i, line := range want {
		if i >= len(mine) {
			return l.short(w, c, at)
		}
		if mine[i] != line {
			return fmt.Errorf("line %d is %q, want %q", i, mine[i], line)
		}
	}
	m := simMember{l: l, c: c, at: at + 1, name: c.peer}
	for i, line := range mine[len(want):] {
		if err := m.hears(strings.TrimSuffix(line, "\n")); err != nil {
			return fmt.Errorf("line %d, %q: %w", len(want)+i, line, err)
		}
	}
	return m.end(w, len(all[len(all)-1]) > 0)
}

// kept returns the lines of the history before line i.
func (l *simRoomLog) kept(w *simWorld, i int) []int {
	n := 0
	for n < len(l.talk) && l.talk[n] < i {
		n++
	}
	kept := l.talk[max(0, n-w.history):n]
	size := 0
	for _, j := range kept {
		size += len(l.lines[j]) + 1
	}
	for len(kept) > 0 && size > w.queue/2 {
		size -= len(l.lines[kept[0]]) + 1
		kept = kept[1:]
	}
	return kept
}

// short says why c, which came at line i, has not even got what newcomers get.
func (l *simRoomLog) short(w *simWorld, c *simClient, i int) error {
	if c.eof && l.cutFairly(w, c, i) {
		return nil
	}
	return notYet("it lacks the first lines")
}

// cutFairly reports whether so much was waiting for c, which has got all before line i,
// that the room may have cut it.
func (l *simRoomLog) cutFairly(w *simWorld, c *simClient, i int) bool {
	to, has := l.left[c]
	if !has {
		to = len(l.lines)
	}
	return i < to && l.bytes[to]-l.bytes[i] >= w.queue/2
}

// A simMember walks over what one client has got.
type simMember struct {
	l    *simRoomLog
	c    *simClient
	at   int    // the next line of the room
	name string // of the client
	next int    // the next message of the client that was not answered
	cut  bool
}

func (m *simMember) hears(line string) error {
	switch {
	case m.cut:
		return fmt.Errorf("something behind the farewell")
	case line == "ERR you read too slowly, goodbye":
		m.cut = true
		return nil
	case line == "ERR nick in use":
		name, err := m.answered("/nick ")
		if err != nil {
			return err
		}
		if h := m.l.holder(name, m.at); h == nil || h == m.c {
			return fmt.Errorf("nobody else has the name %q", name)
		}
		return nil
	case strings.HasPrefix(line, "* ") && strings.Contains(line, " here: "):
		if want := fmt.Sprintf("* %d here: ", m.l.here[m.at]); !strings.HasPrefix(line, want) {
			return fmt.Errorf("want %q", want)
		}
		_, err := m.answered("/who")
		return err
	case m.at == len(m.l.lines):
		return errTwice
	case line != m.l.lines[m.at]:
		return fmt.Errorf("want line %d of the room, %q", m.at, m.l.lines[m.at])
	}
	m.at++
	if old, name, is := strings.Cut(line, " is now "); is && old == "* "+m.name {
		_, err := m.answered("/nick " + name)
		m.name = name
		return err
	}
	return nil
}

// answered takes the next message that the client alone is answered to, and returns
// what follows the command.
func (m *simMember) answered(command string) (rest string, err error) {
	for m.next < len(m.c.said) {
		said := m.c.said[m.next].text
		m.next++
		switch {
		case m.silent(said):
		case strings.HasPrefix(said, command):
			return said[len(command):], nil
		default:
			return "", fmt.Errorf("there is no answer to %q", said)
		}
	}
	return "", errTwice
}

// silent reports whether nobody answers what was said.
func (m *simMember) silent(said string) bool {
	return said != "/who" && (!strings.HasPrefix(said, "/nick ") || said == "/nick "+m.name)
}

// end says what is missing at the end of what a client has got.
func (m *simMember) end(w *simWorld, partial bool) error {
	c := m.c
	last, spoke := m.l.own[c]
	switch {
	case c.eof && !c.ends() && !w.ending, m.cut:
		if !m.l.cutFairly(w, c, m.at) {
			return fmt.Errorf("it was cut, although little was waiting")
		}
		return nil
	case partial:
		return notYet("half a line")
	case c.broken && !c.gone && !c.eof:
		return notYet("the end")
	case spoke && m.at <= last:
		return notYet("what it has said itself")
	case !c.ends() && m.at < len(m.l.lines):
		return notYet("%d lines of the room", len(m.l.lines)-m.at)
	case c.ends() && !w.ending && m.l.left[c] == 0:
		return notYet("that others hear that it has left")
	}
	for ; m.next < len(c.said); m.next++ {
		if said := c.said[m.next].text; !m.silent(said) {
			return notYet("an answer to %q", said)
		}
	}
	for i := m.l.said[c]; i < len(c.said); i++ {
		if said := c.said[i].text; said != "/who" && !strings.HasPrefix(said, "/nick ") {
			return notYet("that others hear %q", said)
		}
	}
	if bytes.Count(c.got, []byte("hi\n")) != 1 {
		return fmt.Errorf("welcomed twice")
	}
	return nil
}
