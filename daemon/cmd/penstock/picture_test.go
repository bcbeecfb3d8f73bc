// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write README's picture anew")

const readme = "../../../README.md"

// The picture in README is of three clients in a room, of which one stops
// reading. It is drawn from what really comes: the daemon serves the file, each
// terminal is a connection, and the last line is the log's.
const pictureFile = `[service.meter]
kind    = "room"
listen  = ["7002"]
allow   = ["local-subnets"]
welcome = "hello {peer}"
message = "{line}"
echo_to_sender = false
`

// A screen is what some terminals show, side by side, and below them the log.
type screen struct {
	terminals []terminal
	rows      [][]string
}

// A terminal is nc in the picture. The loopback address that it really has is
// shown as one of a LAN.
type terminal struct {
	conn         net.Conn
	in           *bufio.Reader
	local, shown string
}

func newScreen(t *testing.T, to string, n int) *screen {
	s := &screen{}
	for i := range n {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(11+i))}, Timeout: patience}
		c, err := d.Dial("tcp", to)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		s.terminals = append(s.terminals, terminal{c, bufio.NewReader(c), c.LocalAddr().String(), fmt.Sprintf("192.168.0.%d:50%d12", 11+i, i+1)})
	}
	return s
}

// row adds what each terminal shows next.
func (s *screen) row(cells ...string) { s.rows = append(s.rows, cells) }

// hears returns the next line that comes to terminal i.
func (s *screen) hears(t *testing.T, i int) string {
	t.Helper()
	if err := s.terminals[i].conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	line, err := s.terminals[i].in.ReadString('\n')
	if err != nil {
		t.Fatalf("terminal %d: %q, %v", i, line, err)
	}
	return strings.TrimSuffix(line, "\n")
}

func (s *screen) says(t *testing.T, i int, line string) string {
	t.Helper()
	if _, err := io.WriteString(s.terminals[i].conn, line+"\n"); err != nil {
		t.Fatal(err)
	}
	return line
}

// flood has terminal 0 say n lines and terminal 1 hear them all. It hears some hundred
// before the next are said: the room waits for a reader that is slow, but not for one
// that a busy machine has stopped.
func (s *screen) flood(t *testing.T, n int, line string) {
	t.Helper()
	const portion = 500
	for said := 0; said < n; said += portion {
		s.says(t, 0, strings.Repeat(line+"\n", portion-1)+line)
		for i := range portion {
			if got := s.hears(t, 1); got != line {
				t.Fatalf("line %d is %q, want %q", said+i, got, line)
			}
		}
	}
}

// text draws the screen as a block of Markdown.
func (s *screen) text(log string) string {
	var names []string
	for _, term := range s.terminals {
		names = append(names, term.local, term.shown)
	}
	rename := strings.NewReplacer(names...)
	var b strings.Builder
	line := func(text string) { b.WriteString(strings.TrimRight("    "+text, " ") + "\n") }
	line("$ cat /etc/penstock/penstock.toml")
	for l := range strings.Lines(pictureFile) {
		line(strings.TrimSuffix(l, "\n"))
	}
	line("")
	for _, cells := range s.rows {
		text := ""
		for _, c := range cells {
			text += fmt.Sprintf("%-28s", rename.Replace(c))
		}
		line(text)
	}
	line("")
	line("$ journalctl -u penstock -o cat")
	line(rename.Replace(log))
	return b.String()
}

// TestPicture: the picture in README is what happens. `make picture` draws it
// anew.
func TestPicture(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	socket, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	to := ln.Addr().String()
	p := servePassed(t, strings.Replace(pictureFile, "7002", to, 1), "meter", socket)

	s := newScreen(t, to, 3)
	s.row("$ nc pi 7002", "$ nc pi 7002", "$ nc pi 7002")
	s.row(s.hears(t, 0), s.hears(t, 1), s.hears(t, 2))
	s.row(s.says(t, 0, "19.3 C"), s.hears(t, 1), s.hears(t, 2))
	s.row("", "", "^Z")
	s.row(s.says(t, 0, "19.4 C"), s.hears(t, 1), "[1]+  Stopped  nc pi 7002")
	const many = 50_000
	s.flood(t, many, "19.4 C")
	s.row("(50,000 lines)", "(all of them)")
	s.row(s.says(t, 0, "19.5 C"), s.hears(t, 1))

	cut := regexp.MustCompile(`(connection cut service=meter .* reason=\w+) .*`)
	if !p.out.await(cut) {
		t.Fatalf("nobody was cut:\n%v", p.out)
	}
	got := s.text(cut.FindStringSubmatch(fmt.Sprint(p.out))[1] + " ...")

	page, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	picture := regexp.MustCompile(`(?m)^    \$ cat .*\n(?:\n?    .*\n)*`)
	was := picture.FindString(string(page))
	switch {
	case was == "":
		t.Fatal("README has no picture: a block that begins with $ cat")
	case was == got:
	case *update:
		if err := os.WriteFile(readme, []byte(strings.Replace(string(page), was, got, 1)), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("README's picture is stale, `make picture` draws it anew:\n%s", got)
	}
}
