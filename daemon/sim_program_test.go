// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The program of a handler is played as well. The process that the daemon starts passes
// its pipes to the test, and ends when the test says so: nothing else of it is real.
//
//	daemon ──► stdin ──┐                ┌── the test reads, answers, says something to
//	       ◄── stdout ─┴── simPlayed ───┘   all, and at the end answers some or all

// simPlayed is the process. It returns the exit status.
func simPlayed(stage string) int {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: stage})
	}
	if err == nil {
		err = unix.Sendmsg(fd, []byte{0}, unix.UnixRights(0, 1), nil, 0)
	}
	if err != nil {
		return 1
	}
	unix.Close(0)
	unix.Close(1)
	_, _ = unix.Read(fd, make([]byte, 1))
	return 0
}

// A simStage is where programs play.
type simStage struct {
	t          testing.TB
	name       string
	fd         int // a listener
	actors     []*simActor
	broadcasts int
}

// A simActor is a program that runs.
type simActor struct {
	ctl, in, out int // in and out are -1 until they have come
	buf          []byte
	asked        []simAsked // not answered
}

type simAsked struct {
	c    *simClient
	text string
}

func openStage(t testing.TB) *simStage {
	t.Helper()
	s := &simStage{t: t, name: fmt.Sprintf("@penstock-sim-%d-%d", os.Getpid(), time.Now().UnixNano())}
	var err error
	s.fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err == nil {
		err = unix.Bind(s.fd, &unix.SockaddrUnix{Name: s.name})
	}
	if err == nil {
		err = unix.Listen(s.fd, 8)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *simStage) command() []string {
	exe, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	return []string{exe, "played", s.name}
}

// serve lets actors come and go. At rest they read and answer all that they are asked.
func (s *simStage) serve(w *simWorld, rest bool) (moved bool) {
	if s == nil {
		return false
	}
	if fd, _, err := unix.Accept4(s.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC); err == nil {
		s.actors = append(s.actors, &simActor{ctl: fd, in: -1, out: -1})
		moved = true
	}
	for _, a := range slices.Clone(s.actors) {
		moved = a.enter(w) || moved
		if rest {
			moved = a.read(w, 1<<16) || len(a.asked) > 0 || moved
			for len(a.asked) > 0 {
				a.answer(w, w.rng.IntN(len(a.asked)))
			}
		}
	}
	return moved
}

// act has one of the actors do something.
func (s *simStage) act(w *simWorld) {
	if s == nil || len(s.actors) == 0 {
		return
	}
	a := s.actors[w.rng.IntN(len(s.actors))]
	switch w.rng.IntN(5) {
	case 0:
		if a.out >= 0 {
			s.broadcasts++
			w.tracef("broadcast %d", s.broadcasts)
			a.say(w, map[string]any{"data": fmt.Sprintf("B %d\n", s.broadcasts)})
		}
	case 1, 2:
		if n := len(a.asked); n > 0 {
			a.answer(w, w.rng.IntN(n))
		}
	default:
		a.read(w, 1+w.rng.IntN(300))
	}
}

func (s *simStage) close() {
	if s == nil {
		return
	}
	unix.Close(s.fd)
	for _, a := range s.actors {
		a.closeAll()
	}
}

func (a *simActor) closeAll() {
	for _, fd := range []int{a.in, a.out, a.ctl} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	a.in, a.out, a.ctl = -1, -1, -1
}

// enter takes the pipes of a program that has just begun, and sees that it was killed.
func (a *simActor) enter(w *simWorld) (moved bool) {
	oob := make([]byte, 64)
	n, oobn, _, _, err := unix.Recvmsg(a.ctl, make([]byte, 1), oob, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	switch {
	case err == unix.EAGAIN:
		return false
	case err != nil || n == 0:
		a.leave(w)
		return true
	}
	if messages, err := unix.ParseSocketControlMessage(oob[:oobn]); err == nil && len(messages) == 1 {
		if fds, err := unix.ParseUnixRights(&messages[0]); err == nil && len(fds) == 2 {
			a.in, a.out = fds[0], fds[1]
			w.tracef("a program begins")
		}
	}
	return true
}

// read takes some of what the daemon has written.
func (a *simActor) read(w *simWorld, most int) (moved bool) {
	if a.in < 0 {
		return false
	}
	if n, _ := unix.Poll([]unix.PollFd{{Fd: int32(a.in), Events: unix.POLLIN}}, 0); n <= 0 {
		return false
	}
	b := make([]byte, most)
	n, err := unix.Read(a.in, b)
	if n <= 0 || err != nil {
		a.stop(w)
		return true
	}
	a.buf = append(a.buf, b[:n]...)
	for {
		i := bytes.IndexByte(a.buf, '\n')
		if i < 0 {
			return true
		}
		if err := a.hear(w, a.buf[:i]); err != nil {
			w.fail(fmt.Errorf("a program hears %q: %w", a.buf[:i], err))
			return true
		}
		a.buf = a.buf[i+1:]
	}
}

// hear takes a message: the next one of its client, and of no other program.
func (a *simActor) hear(w *simWorld, line []byte) error {
	var ev struct {
		Conn              uint64
		Event, Peer, Data string
	}
	if err := json.Unmarshal(line, &ev); err != nil {
		return err
	}
	for _, c := range w.clients {
		if c.id != ev.Conn {
			continue
		}
		if c.kind != simHandler || ev.Event != "message" || ev.Peer != c.peer || c.taken == len(c.said) ||
			c.said[c.taken].text != ev.Data && !c.cut(c.taken, ev.Data) {
			return fmt.Errorf("not message %d of client %d", c.taken, c.id)
		}
		c.taken++
		a.asked = append(a.asked, simAsked{c, ev.Data})
		return nil
	}
	return errors.New("of nobody")
}

// answer replies to one of the messages.
func (a *simActor) answer(w *simWorld, i int) {
	q := a.asked[i]
	a.asked = slices.Delete(a.asked, i, i+1)
	w.tracef("answer %q", q.text)
	reply := "A " + q.text + "\n"
	q.c.replies = append(q.c.replies, reply)
	a.say(w, map[string]any{"conn": q.c.id, "data": reply})
}

func (a *simActor) say(w *simWorld, v any) {
	b, err := json.Marshal(v)
	if err == nil {
		_, err = unix.Write(a.out, append(b, '\n')) // a pipe of 64 KiB, which the daemon reads
	}
	if err != nil {
		w.fail(fmt.Errorf("a program cannot speak: %w", err))
	}
}

// stop is what a program does at the end of its input: it answers some of what it was
// asked, and ends.
func (a *simActor) stop(w *simWorld) {
	if len(a.buf) > 0 {
		w.fail(fmt.Errorf("a program hears half a line, %q", a.buf))
	}
	for n := w.rng.IntN(len(a.asked) + 1); n > 0; n-- {
		a.answer(w, w.rng.IntN(len(a.asked)))
	}
	a.leave(w)
}

// leave ends a program. Clients that wait for it are told, each once.
func (a *simActor) leave(w *simWorld) {
	w.tracef("a program ends, %d messages are not answered", len(a.asked))
	told := map[*simClient]bool{}
	for _, q := range a.asked {
		if !told[q.c] {
			q.c.replies = append(q.c.replies, "sorry\n")
		}
		told[q.c] = true
	}
	a.asked = nil
	a.closeAll()
	w.program.actors = slices.DeleteFunc(w.program.actors, func(o *simActor) bool { return o == a })
}

var simHandler = &simKind{
	name: "handler", listens: true,
	say: func(_ *simWorld, c *simClient) string { return fmt.Sprintf("c%d.%d", c.id, len(c.said)) },
	check: func(w *simWorld, c *simClient) error {
		heard, replies := c.joined, 0
		lines := strings.SplitAfter(string(c.got), "\n")
		for _, line := range lines[:len(lines)-1] {
			var n int
			if _, err := fmt.Sscanf(line, "B %d\n", &n); err == nil {
				if n != heard+1 && !(heard == c.joined && n <= heard) { // some were on their way when it came
					return fmt.Errorf("broadcast %d after %d", n, heard)
				}
				heard = n
				continue
			}
			if replies == len(c.replies) || line != c.replies[replies] {
				return fmt.Errorf("reply %d is %q, want those of %q", replies, line, c.replies)
			}
			replies++
		}
		switch {
		case c.taken < len(c.said):
			return notYet("that a program gets message %d", c.taken)
		case replies < len(c.replies):
			return notYet("reply %d, %q", replies, c.replies[replies])
		case heard < w.program.broadcasts && !c.ends():
			return notYet("broadcast %d of %d", heard+1, w.program.broadcasts)
		}
		return nil
	},
}
