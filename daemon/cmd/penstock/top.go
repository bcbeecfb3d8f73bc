// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/gdamore/tcell/v2"
	_ "github.com/gdamore/tcell/v2/terminfo/l/linux" // the console of a board
	"golang.org/x/sys/unix"

	"penstock/daemon/internal/control"
)

const aboutTop = `Shows live what the running daemon serves, and with c or enter its clients. The last
line of the screen says what the keys do. After a restart of the daemon it goes on.
Ending a client asks first. Which daemon: see penstock status -h.
`

// What is asked each second costs the daemon and this process a share of a core. So top
// waits at least topShare times as long as the last answer took.
const (
	topPause     = time.Second
	topLongPause = 10 * time.Second
	topShare     = 100
)

func top(p process, c command, args []string) int {
	a, status, ok := newAsk(p, c, args, nil)
	if !ok {
		return status
	}
	if !p.onTerminal() {
		fmt.Fprintln(p.stderr, "penstock top: this is no terminal; penstock status --json is for programs")
		return exitFailed
	}
	return a.answer(a.sayIdle, a.runTop)
}

// runTop shows the screen until the user ends it.
func (a ask) runTop(client *control.Client) error {
	screen, err := newScreenOf(os.Getenv("TERM"))
	if err == nil {
		err = screen.Init()
	}
	if err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	defer screen.Fini()
	screen.RegisterRuneFallback('…', "~")
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, unix.SIGTERM, unix.SIGHUP, unix.SIGINT)
	defer signal.Stop(stop)

	events, done := make(chan tcell.Event), make(chan struct{})
	defer close(done)
	go screen.ChannelEvents(events, done)
	queries, answers := make(chan topQuery, 1), make(chan topAnswer, 1)
	defer close(queries)
	go (&topAsker{a, client}).serve(queries, answers)

	t := &topTerminal{state: newTopState(), screen: screen, queries: queries, timer: time.NewTimer(0)}
	for t.draw(); ; t.draw() {
		select {
		case <-stop:
			return nil
		case e, open := <-events:
			if !open || t.event(e) {
				return nil
			}
		case answer := <-answers:
			t.answered(answer)
		case <-t.timer.C:
			t.ask(t.state.query())
		}
	}
}

// newScreenOf returns the screen of the terminal. The binary is built without most of
// tcell's descriptions of terminals (tcell_minimal, see packaging/goflags), which would be 0.3 MB
// of it. A terminal that is not known is taken for xterm, which most of the others imitate.
func newScreenOf(term string) (tcell.Screen, error) {
	if term == "" || term == "dumb" {
		return nil, fmt.Errorf("TERM=%s has no screen", term)
	}
	info, err := tcell.LookupTerminfo(term)
	if err != nil {
		if info, err = tcell.LookupTerminfo("xterm"); err != nil {
			return nil, err
		}
	}
	tcell.SetEncodingFallback(tcell.EncodingFallbackASCII) // a locale that is neither UTF-8 nor C
	return tcell.NewTerminfoScreenFromTtyTerminfo(nil, info)
}

// A topTerminal joins a state with a screen and with the goroutine that asks.
type topTerminal struct {
	state   *topState
	screen  tcell.Screen
	queries chan<- topQuery
	busy    bool      // a query is under way
	next    *topQuery // what is to be asked when it is answered; nil: nothing yet
	timer   *time.Timer
}

// ask asks now, or as soon as the query that is under way is answered. An act is not lost
// by a view that changes behind it.
func (t *topTerminal) ask(q topQuery) {
	switch {
	case !t.busy:
		t.busy = true
		t.queries <- q
	default:
		if t.next != nil && q.end == 0 {
			q.end = t.next.end
		}
		t.next = &q
	}
}

func (t *topTerminal) answered(a topAnswer) {
	t.state.take(a)
	t.busy = false
	t.timer.Reset(min(max(topPause, topShare*a.took), topLongPause))
	switch q := t.next; {
	case q != nil:
		t.next = nil
		t.ask(*q)
	case a.end != 0:
		t.ask(t.state.query())
	}
}

// event takes what the terminal reports, and returns whether to end.
func (t *topTerminal) event(e tcell.Event) (quit bool) {
	switch e := e.(type) {
	case *tcell.EventResize:
		t.screen.Sync()
	case *tcell.EventKey:
		if e.Key() == tcell.KeyCtrlL {
			t.screen.Sync()
			return false
		}
		var q *topQuery
		if q, quit = t.state.key(keyOf(e)); q != nil {
			t.ask(*q)
		}
	}
	return quit
}

var topKeys = map[tcell.Key]topKey{
	tcell.KeyUp: keyUp, tcell.KeyDown: keyDown, tcell.KeyPgUp: keyPageUp, tcell.KeyPgDn: keyPageDown,
	tcell.KeyHome: keyHome, tcell.KeyEnd: keyEnd, tcell.KeyEnter: keyEnter, tcell.KeyRight: keyEnter,
	tcell.KeyEscape: keyEscape, tcell.KeyLeft: keyEscape, tcell.KeyBackspace: keyEscape, tcell.KeyBackspace2: keyEscape,
	tcell.KeyCtrlC: keyInterrupt,
}

func keyOf(e *tcell.EventKey) topKey {
	if e.Key() == tcell.KeyRune {
		return topKey(e.Rune())
	}
	return topKeys[e.Key()]
}

// topStyles leaves colours out with NO_COLOR, as tcell does.
var topStyles = map[topStyle]tcell.Style{
	styleBold:     tcell.StyleDefault.Bold(true),
	styleHead:     tcell.StyleDefault.Reverse(true),
	styleSelected: tcell.StyleDefault.Reverse(true).Bold(true),
	styleWarning:  tcell.StyleDefault.Foreground(tcell.ColorRed).Bold(true),
}

// draw shows the state. tcell sends the terminal only what has changed.
func (t *topTerminal) draw() {
	t.screen.Clear()
	for y, line := range t.state.draw(t.screen.Size()) {
		x := 0
		for _, r := range line.text {
			t.screen.SetContent(x, y, r, nil, topStyles[line.style])
			x++
		}
	}
	t.screen.Show()
}

// A topAsker asks the daemon, and connects again when the connection has ended.
type topAsker struct {
	ask
	client *control.Client // nil: there is no connection
}

// serve answers queries until there will be no more.
func (t *topAsker) serve(queries <-chan topQuery, answers chan<- topAnswer) {
	for q := range queries {
		began := time.Now()
		a := topAnswer{topQuery: q}
		a.err = t.look(&a)
		a.at, a.took = time.Now(), time.Since(began)
		if _, said := errors.AsType[*control.Error](a.err); a.err != nil && !said {
			t.hangUp()
		}
		answers <- a
	}
	t.hangUp()
}

func (t *topAsker) hangUp() {
	if t.client != nil {
		_ = t.client.Close()
	}
	t.client = nil
}

// look asks what a query wants to know.
func (t *topAsker) look(a *topAnswer) (err error) {
	if t.client == nil {
		if t.client, err = t.dial(); err == nil && t.client == nil {
			err = errNotRunning
		}
		if err != nil {
			return err
		}
	}
	if a.end != 0 {
		a.endErr = t.client.Call(control.Interface+".Kick", control.Kick{ID: a.end}, nil)
	}
	a.status, a.services, err = t.status(t.client)
	if err == nil && a.clients {
		a.conns, err = connections(t.client, a.of)
	}
	return err
}
