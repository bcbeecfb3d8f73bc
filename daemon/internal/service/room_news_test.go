// SPDX-License-Identifier: Apache-2.0

package service

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/evloop"
	"penstock/evloop/evlooptest"
)

// TestRoomNewsOfATurn: three clients come at once. A small room tells each by itself. A
// large one tells the first, then keeps still and sums the others up. What a newcomer
// says does not overtake the news of it.
func TestRoomNewsOfATurn(t *testing.T) {
	const came = 3
	for _, tt := range []struct {
		name    string
		members int // with the three
		says    bool
		want    string
	}{
		{"small", crowd - 1, false, "new\nnew\nnew\n"},
		{"large", crowd + came, false, "new\n* 2 came\n"},
		{"large, and a newcomer speaks", crowd + came, true, "new\n* 2 came\nhi\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := serve(t, "kind=\"room\"\nwelcome=\"\"\nmessage=\"{line}\"")
			watcher := r.dial()
			for range tt.members - came - 1 {
				r.dial()
			}
			var fds []int
			for range came {
				fd, _ := evlooptest.Pair(t, "unix")
				fds = append(fds, fd)
			}
			r.do(func() {
				r.svc.(*room).join = parseTemplate("new")
				var newest *evloop.Conn
				for _, fd := range fds {
					c, err := r.loop.Add(fd, r, r.session())
					if err != nil {
						t.Error(err)
						return
					}
					newest = c
				}
				if tt.says {
					r.Data(newest, []byte("hi\n"))
				}
			})
			watcher.want(tt.want)
		})
	}
}

// Many who come and go while a room is busy are summed up, and nobody is left
// out of the sum.
func TestRoomNewsAreSummedUp(t *testing.T) {
	const before, came = crowd, 30
	r := serveLoop(t, parse(t, "kind=\"room\"\nwelcome=\"\"\njoin=\"{name} came\"\nleave=\"{name} left\""), hurried)
	watcher := r.dial()
	for range before {
		r.dial()
	}
	var fds []int
	for range came {
		p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		fds = append(fds, p[0])
		r.do(func() {
			if _, err := r.loop.Add(p[1], r, r.session()); err != nil {
				t.Error(err)
			}
		})
	}
	for _, fd := range fds {
		unix.Close(fd)
	}
	buf, lines := make([]byte, 64<<10), 0
	var in, out int
	watcher.conn.SetReadDeadline(time.Now().Add(patience))
	for text := ""; in < before+came || out < came; {
		n, err := watcher.conn.Read(buf)
		if err != nil {
			t.Fatalf("told of %d who came and %d who left: %v", in, out, err)
		}
		text += string(buf[:n])
		for {
			line, rest, ok := strings.Cut(text, "\n")
			if !ok {
				break
			}
			text = rest
			lines++
			i, o := parseNews(t, line)
			in, out = in+i, out+o
		}
	}
	if in != before+came || out != came {
		t.Errorf("told of %d who came and %d who left, want %d and %d", in, out, before+came, came)
	}
	if lines >= before+2*came {
		t.Errorf("%d lines for %d who came and %d who left", lines, in, out)
	}
}

func parseNews(t *testing.T, line string) (came, left int) {
	t.Helper()
	switch {
	case !strings.HasPrefix(line, "* ") && strings.HasSuffix(line, " came"):
		return 1, 0
	case !strings.HasPrefix(line, "* ") && strings.HasSuffix(line, " left"):
		return 0, 1
	}
	for part := range strings.SplitSeq(strings.TrimPrefix(line, "* "), ", ") {
		var n int
		var what string
		fmt.Sscanf(part, "%d %s", &n, &what)
		switch what {
		case "came":
			came += n
		case "left":
			left += n
		default:
			t.Fatalf("news %q", line)
		}
	}
	return came, left
}

func TestSum(t *testing.T) {
	for _, tt := range []struct {
		came, left int
		want       string
	}{{3, 0, "* 3 came\n"}, {0, 2, "* 2 left\n"}, {1, 1, "* 1 came, 1 left\n"}} {
		if got := string(sum(tt.came, tt.left)); got != tt.want {
			t.Errorf("%d, %d: got %q, want %q", tt.came, tt.left, got, tt.want)
		}
	}
}

// TestRoomEndGivesWhatWasSaid: a member that leaves, or is sent away, gets what was said
// before, although that is on its way to all for several turns.
func TestRoomEndGivesWhatWasSaid(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(*rig, *evloop.Conn)
	}{
		{"it leaves", func(r *rig, c *evloop.Conn) { r.Data(c, []byte("/quit\n")) }},
		{"the room closes", func(r *rig, c *evloop.Conn) { r.svc.(Drainer).Drain(c, nil, patience) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := serveLoop(t, parse(t, "kind=\"room\"\nwelcome=\"\"\nmessage=\"{line}\""), hurried)
			speaker := r.dial()
			for range 2 * fanoutFew {
				r.dial()
			}
			last := r.dial()
			r.do(func() {
				r.Data(r.loop.Conn(speaker.id), []byte("hi\n"))
				if r.svc.(*room).fan.idle() {
					t.Error("everybody has got the line already: the test shows nothing")
				}
				tt.end(r, r.loop.Conn(last.id))
			})
			if got := last.rest(); got != "hi\n" {
				t.Errorf("got %q, want what was said", got)
			}
		})
	}
}

// TestRoomTellsNoGoodbyesAtItsEnd: when a room closes, a member that is in the middle of
// a line stays a moment longer than the others. It is not told that they leave.
func TestRoomTellsNoGoodbyesAtItsEnd(t *testing.T) {
	r := serve(t, "kind=\"room\"\nwelcome=\"\"\nleave=\"{name} left\"")
	first, second := r.dial(), r.dial()
	drain := func(c *testClient) {
		r.do(func() { r.svc.(Drainer).Drain(r.loop.Conn(c.id), nil, patience) })
		c.conn.CloseWrite()
		r.wantEnd(nil)
	}
	drain(first)
	drain(second)
	second.wantEOF()
}
