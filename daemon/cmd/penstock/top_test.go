// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"penstock/daemon/internal/control"
	"penstock/daemon/internal/view"
)

// topPlay is a state, and what is done to it.
type topPlay struct {
	t     *testing.T
	state *topState
	now   time.Time
	asks  []topQuery // what the keys wanted to know at once
}

func playTop(t *testing.T) *topPlay {
	return &topPlay{t: t, state: newTopState(), now: time.Unix(1e9, 0)}
}

// keys presses keys, and fails if one of them ends top.
func (p *topPlay) keys(keys ...topKey) {
	p.t.Helper()
	for _, k := range keys {
		q, quit := p.state.key(k)
		if quit {
			p.t.Fatalf("key %d ends top", k)
		}
		if q != nil {
			p.asks = append(p.asks, *q)
		}
	}
}

// looks has the daemon answer what the state wants to know, n seconds later. Each second
// client i of three gets i KiB, and its service is shared by the first two.
func (p *topPlay) looks(seconds int) {
	p.now = p.now.Add(time.Duration(seconds) * time.Second)
	since := uint64(p.now.Unix() - 1e9)
	a := topAnswer{topQuery: p.state.query(), at: p.now, status: control.Status{
		Version: "0.3.0", PID: 4711, Uptime: time.Duration(since) * time.Second, Phase: "ready",
		Services: 3, Connections: 3, Limit: 4096, Loop: view.Loop{Turns: 120 * since, Queued: 2048},
	}}
	for i := range uint64(3) {
		c := view.Conn{
			ID: 17 + i, Service: "lobby", Age: time.Duration(since+60*i) * time.Second, Idle: time.Duration(3-i) * time.Second,
			Traffic: view.Traffic{In: 10 * since, Out: (i + 1) << 10 * since}, Queued: int(i * 700), Dropped: 2 * i,
			Peer: view.Peer{Addr: netip.MustParseAddrPort(fmt.Sprintf("192.0.2.%d:5%d12", i+1, i))},
		}
		if i == 2 {
			c.Service, c.Peer = "gps", view.Peer{UID: 1000, PID: 321}
		}
		if a.of == "" || a.of == c.Service {
			a.conns = append(a.conns, c)
		}
	}
	a.services = []view.Service{
		{Name: "gps", Kind: "bridge", Clients: 1, Most: 4, Bytes: view.Traffic{In: 10 * since, Out: 3 << 10 * since}, Source: &view.Source{Name: "/dev/ttyUSB0", State: "lost"}},
		{Name: "lobby", Kind: "room", Clients: 2, Most: 9, Dropped: 2, Bytes: view.Traffic{In: 20 * since, Out: 3 << 10 * since}, Refused: map[string]uint64{"address": 3, "per_source": 1}, Cut: map[string]uint64{"idle": 5}},
		{Name: "old", Kind: "echo", Leaving: true},
	}
	p.state.take(a)
}

// TestTopScreens: the screens of a state, at the usual size and smaller. With -update they
// are written anew.
func TestTopScreens(t *testing.T) {
	for _, tt := range []struct {
		name          string
		width, height int
		play          func(*topPlay)
	}{
		{"services", 80, 12, func(p *topPlay) {}},
		{"clients", 80, 12, func(p *topPlay) { p.keys('c'); p.looks(1); p.looks(1); p.keys('s', keyDown) }},
		{"client", 80, 12, func(p *topPlay) { p.keys(keyDown, keyEnter); p.looks(1); p.looks(1); p.keys(keyDown, keyEnter) }},
		{"question", 60, 10, func(p *topPlay) { p.keys(keyDown, keyEnter); p.looks(1); p.keys('k') }},
		{"lost", 80, 8, func(p *topPlay) {
			p.state.take(topAnswer{err: fmt.Errorf("control socket: %w", os.ErrNotExist)})
		}},
		{"narrow", 30, 6, func(p *topPlay) {}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := playTop(t)
			p.looks(60)
			p.looks(2)
			tt.play(p)
			var b strings.Builder
			for _, line := range p.state.draw(tt.width, tt.height) {
				mark := map[topStyle]string{styleBold: "b", styleHead: "h", styleSelected: ">", styleWarning: "!"}[line.style]
				fmt.Fprintln(&b, strings.TrimRight(fmt.Sprintf("%1s|%s", mark, line.text), " "))
			}
			golden := filepath.Join("testdata", "top", tt.name+".txt")
			if *update {
				if err := errors.Join(os.MkdirAll(filepath.Dir(golden), 0o755), os.WriteFile(golden, []byte(b.String()), 0o644)); err != nil {
					t.Fatal(err)
				}
			}
			if want := read(t, golden); b.String() != want {
				t.Errorf("the screen is\n%swant\n%s", b.String(), want)
			}
		})
	}
}

// TestTopFits: no screen has a line too many or a line too long, whatever the size.
func TestTopFits(t *testing.T) {
	p := playTop(t)
	p.looks(1)
	for _, keys := range [][]topKey{nil, {keyEnter}, {keyEnter}, {'k'}, {'n', keyEscape, keyEscape}} {
		p.keys(keys...)
		p.looks(1)
		for width := range 100 {
			for height := range 30 {
				lines := p.state.draw(width, height)
				if len(lines) != height {
					t.Fatalf("%d lines on a screen of %d", len(lines), height)
				}
				for _, line := range lines {
					if n := utf8.RuneCountInString(line.text); n > max(1, width) {
						t.Fatalf("%d columns on a screen of %d: %q", n, width, line.text)
					}
				}
			}
		}
	}
}

// TestTopScrolls: of many clients those around the selected one are shown, also where there
// are fewer services.
func TestTopScrolls(t *testing.T) {
	p := playTop(t)
	p.looks(1)
	p.keys('c')
	var conns []view.Conn
	for id := range uint64(1000) {
		conns = append(conns, view.Conn{ID: 1001 + id, Service: "lobby"})
	}
	p.state.takeClients(topAnswer{conns: conns, at: p.now})
	p.keys(keyPageDown, keyPageDown)
	for _, want := range []string{"1021", "2000"} {
		text := fmt.Sprint(p.state.draw(80, 24))
		if !strings.Contains(text, want+"  lobby") || strings.Contains(text, "1001  lobby") {
			t.Errorf("the screen is without %s:\n%s", want, text)
		}
		p.keys(keyEnd)
	}
}

// TestTopAsksLittle: clients are listed only where they are shown, and of one service if
// one is shown.
func TestTopAsksLittle(t *testing.T) {
	p := playTop(t)
	p.looks(1)
	if q := p.state.query(); q != (topQuery{}) {
		t.Errorf("the services need %+v", q)
	}
	p.keys(keyDown, keyEnter, keyEscape, 'c', keyEscape)
	want := []topQuery{{clients: true, of: "lobby"}, {}, {clients: true}, {}}
	if !slices.Equal(p.asks, want) {
		t.Errorf("keys ask %+v, want %+v", p.asks, want)
	}
}

// TestTopEnds: a client is ended when the question is answered with y, and by no other key.
func TestTopEnds(t *testing.T) {
	for _, tt := range []struct {
		answer topKey
		end    uint64
	}{{'y', 17}, {'n', 0}, {keyEnter, 0}, {keyEscape, 0}, {keyDown, 0}} {
		p := playTop(t)
		p.looks(1)
		p.keys('c')
		p.looks(1)
		p.keys(keyDown, 'k')
		p.looks(1) // an answer meanwhile changes nothing about whom the question is
		p.asks = nil
		p.keys(tt.answer)
		var end uint64
		for _, q := range p.asks {
			end = q.end
		}
		if end != tt.end || p.state.ending != nil {
			t.Errorf("key %d ends connection %d, want %d", tt.answer, end, tt.end)
		}
	}
}

// TestTopEndText: what came of it is said in words.
func TestTopEndText(t *testing.T) {
	for want, err := range map[string]error{
		"connection 7 ends": nil,
		"older than":        control.MethodNotFound("penstock.Control.Kick"),
		"penstock(8) says":  control.ErrPermission,
		"NoSuchConnection":  control.NoSuchConnection(7),
	} {
		p := playTop(t)
		p.looks(1)
		p.state.take(topAnswer{topQuery: topQuery{end: 7}, endErr: err})
		lines := p.state.draw(80, 24)
		if got := lines[len(lines)-1].text; !strings.Contains(got, want) {
			t.Errorf("for %v the last line is %q, want %q", err, got, want)
		}
	}
}

// TestTopSelects: the selected row is the same client or service in another order, and
// when others come and go.
func TestTopSelects(t *testing.T) {
	p := playTop(t)
	p.looks(1)
	p.keys(keyDown)
	for range 2 * len(serviceOrders) {
		p.keys('s', 'r')
		if s := p.state.service(); s == nil || s.Name != "lobby" {
			t.Fatalf("selected is %+v, want lobby", s)
		}
	}
	p.keys('c')
	p.looks(1)
	p.keys(keyEnd)
	last := p.state.selected().ID
	p.keys('r')
	p.looks(1)
	if got := p.state.selected().ID; got != last {
		t.Errorf("connection %d is selected, want %d", got, last)
	}
	p.state.clients = p.state.clients[1:]
	p.keys(keyUp, keyPageUp, keyHome, keyPageDown)
	if got := p.state.selected(); got != p.state.clients[len(p.state.clients)-1] {
		t.Errorf("%+v is selected, want the last", got)
	}
}

// TestTopRestart: rates are of one process, and a connection that has ended says so.
func TestTopRestart(t *testing.T) {
	p := playTop(t)
	p.looks(1)
	p.keys('c')
	p.looks(1)
	p.looks(1)
	p.keys(keyEnter)
	if got, want := p.state.selected().rate, (view.Traffic{In: 10, Out: 3 << 10}); got != want {
		t.Errorf("rate %+v, want %+v", got, want)
	}
	p.keys('k')
	p.state.take(topAnswer{topQuery: p.state.query(), at: p.now.Add(time.Second), status: control.Status{PID: 4712, Phase: "ready", Loop: view.Loop{Turns: 9e9}}})
	if p.state.turns != 0 {
		t.Errorf("%d turns a second, though all are of the new process", p.state.turns)
	}
	if p.state.ending != nil {
		t.Error("the question is still about a connection of the process that has gone")
	}
	if lines := fmt.Sprint(p.state.draw(80, 24)); !strings.Contains(lines, "connection 19 has ended") {
		t.Errorf("the screen of a client that has ended is %s", lines)
	}
}

// TestTopPicture: the picture in README is a screen of top. `make picture` draws it anew.
func TestTopPicture(t *testing.T) {
	p := playTop(t)
	p.looks(11580)
	p.keys('c')
	p.looks(1)
	p.looks(1)
	p.keys('s', keyDown)
	const file, width, height, lineHeight, letter = "../../man/top.svg", 80, 10, 17, 8.4
	var b strings.Builder
	fmt.Fprintf(&b, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%d\" font-family=\"monospace\" font-size=\"14\">\n"+
		"<title>penstock top</title>\n<rect width=\"100%%\" height=\"100%%\" fill=\"#1c1c1c\"/>\n", letter*(width+2), lineHeight*(height+1))
	for y, line := range p.state.draw(width, height) {
		ink := "#d0d0d0"
		if line.style == styleHead || line.style == styleSelected {
			fmt.Fprintf(&b, "<rect x=\"%.1f\" y=\"%d\" width=\"%.0f\" height=\"%d\" fill=\"%s\"/>\n", letter, lineHeight*y+9, letter*width, lineHeight, ink)
			ink = "#1c1c1c"
		}
		weight := ""
		if line.style == styleBold || line.style == styleSelected {
			weight = ` font-weight="bold"`
		}
		text := strings.TrimRight(line.text, " ")
		fmt.Fprintf(&b, "<text x=\"%.1f\" y=\"%d\" fill=\"%s\"%s textLength=\"%.1f\" xml:space=\"preserve\">%s</text>\n",
			letter, lineHeight*y+22, ink, weight, letter*float64(utf8.RuneCountInString(text)), text)
	}
	b.WriteString("</svg>\n")
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if read(t, file) != b.String() {
		t.Error("README's picture of top is stale, `make picture` draws it anew")
	}
}
