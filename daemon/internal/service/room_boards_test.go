// SPDX-License-Identifier: Apache-2.0

package service

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"penstock/evloop"
)

const boardRoom = "kind=\"room\"\nwelcome=\"\"\nmessage=\"{name}|{peer}: {line}\"\njoin=\"+{name} {count}\"\nleave=\"-{name} {count}\"\n"

// present has somebody say who is on a board.
func (r *rig) present(by any, board string, names ...string) {
	r.t.Helper()
	r.do(func() {
		if err := r.svc.(Gathering).Present(by, board, names); err != nil {
			r.t.Errorf("%s: %v", board, err)
		}
	})
}

// says publishes a line of somebody on a board.
func (r *rig) says(board, name, line string) {
	r.t.Helper()
	r.do(func() {
		if _, err := r.svc.(Publisher).Publish(&Publication{Text: []byte(line), Name: name, Board: board}); err != nil {
			r.t.Errorf("%s on %s: %v", name, board, err)
		}
	})
}

// TestRoomBoards: members are told who comes and goes on other boards, and see their names;
// a name that somebody else has, or that no member could take, has its board behind it. When
// the one that has said so goes, there is one line.
func TestRoomBoards(t *testing.T) {
	r := serve(t, boardRoom)
	c := r.dial()
	r.present(1, "attic", "bob", "192.0.2.9:1", "bob", "", "z\x1b")
	c.want("+192.0.2.9:1@attic 4\n+bob 4\n+z?@attic 4\n")
	r.present(1, "attic", "bob", "192.0.2.9:1", "z\x1b")
	r.present(2, "cellar", "BOB", "eve")
	c.want("+BOB@cellar 6\n+eve 6\n")
	c.send("/nick eve\n")
	c.want("* " + addr1 + " is now eve\n")
	r.says("cellar", "eve", "hi")
	r.says("attic", "bob", "hi")
	r.says("attic", "amy", "~ amy waves\x07")
	r.says("attic", "bob", "~ bob waves")
	r.says("attic", "amy", "~ bob waves")
	c.want("eve@cellar|eve@cellar: hi\nbob@attic|bob@attic: hi\n~ amy waves?\n~ bob@attic waves\namy|amy@attic: ~ bob waves\n")
	c.send("/who\n")
	c.want("* 1 here: eve\n* 3 on attic: 192.0.2.9:1, bob, z?\n* 2 on cellar: BOB, eve\n")
	r.present(1, "attic", "bob")
	c.want("-192.0.2.9:1@attic 4\n-z?@attic 4\n")
	r.do(func() { r.svc.(Gathering).Alone(3) })
	r.do(func() { r.svc.(Gathering).Alone(2) })
	r.says("attic", "bob", "hi")
	c.want("bob|bob@attic: hi\n")
	r.present(2, "cellar", "eve")
	r.present(2, "cellar")
	c.want("+eve@cellar 3\n-eve@cellar 2\n")
	r.do(func() { r.svc.(Gathering).Alone(1) })
	c.want("* alone: the other boards are out of reach\n")
	r.do(func() { r.svc.(Gathering).Alone(1) })
	c.send("/who\n")
	c.want("* 1 here: eve\n")
}

// TestRoomBoardsBounds: whatever is said of other boards, members get few lines of it, and
// the room keeps so much and no more.
func TestRoomBoardsBounds(t *testing.T) {
	var many []string
	for i := range 3 * mostNames {
		many = append(many, fmt.Sprintf("n%d%s", i, strings.Repeat("x", 100)))
	}
	for preset, first := range map[string]string{"": "* 1000 came\n", "preset=\"twisted\"\n": "* 1000 came\n"} {
		r := serve(t, boardRoom+preset)
		c := r.dial()
		r.present(1, "attic", many...)
		c.want(first)
		r.present(1, "attic", many[:mostNames-9]...)
		c.want("* 9 left\n")
		r.present(1, "attic")
		c.want("* 991 left\n")
		r.do(func() {
			for i := range mostBoards {
				if err := r.svc.(Gathering).Present(1, fmt.Sprint("b", i), []string{"a"}); err != nil {
					t.Error(err)
				}
			}
			if err := r.svc.(Gathering).Present(1, "other", []string{"a"}); !errors.Is(err, errBoards) {
				t.Errorf("one board more: %v", err)
			}
			if err := r.svc.(Gathering).Present(1, "other", nil); err != nil {
				t.Errorf("nobody on one board more: %v", err)
			}
			r.svc.(*room).join = nil
			for i := range mostBoards {
				_ = r.svc.(Gathering).Present(1, fmt.Sprint("b", i), many)
			}
			if text := r.svc.(*room).who(); len(text) > 16<<10 {
				t.Errorf("/who is answered with %d bytes", len(text))
			}
			if names := r.svc.(*room).boards[0].people; len(names) != mostNames || len(names[0].name) > longestPerson {
				t.Errorf("%d names are kept, one of %d bytes", len(names), len(names[0].name))
			}
		})
	}
}

// TestRoomBoardsCarried: after a restart members are told only what has changed meanwhile,
// and a board of which nobody says anything any more is forgotten.
func TestRoomBoardsCarried(t *testing.T) {
	was := serve(t, boardRoom)
	was.present(1, "attic", "bob", "zoe")
	was.present(1, "cellar", "eve")
	var state []byte
	was.do(func() { state = was.svc.(Carrier).Save() })
	r := serve(t, boardRoom)
	c := r.dial()
	r.do(func() {
		if err := r.svc.(Carrier).Load(state); err != nil {
			t.Error(err)
		}
	})
	c.send("/who\n")
	c.want("* 1 here: " + addr1 + "\n* 2 on attic: bob, zoe\n* 1 on cellar: eve\n")
	r.present(2, "attic", "bob")
	c.want("-zoe 3\n")
	r.do(func() { r.svc.(*room).Expired(r.loop, evloop.Timer{Kind: timerBoards}) })
	c.send("/who\n")
	c.want("* 1 here: " + addr1 + "\n* 1 on attic: bob\n")
	r.do(func() { r.svc.(Gathering).Alone(2) })
	c.want("* alone: the other boards are out of reach\n")
	for name, rest := range map[string]string{
		"cut": "\x05atti", "no names": "\x05attic\x00", "no board": "\x03a b\x01\x01x", "out of order": "\x01a\x02\x01y\x01x",
		"twice": "\x01a\x02\x01x\x01x", "boards out of order": "\x01b\x01\x01x\x01a\x01\x01x", "a control character": "\x01b\x01\x01\x1b",
	} {
		r.do(func() {
			if r.svc.(Carrier).Load([]byte("\x00\x09\x00"+rest)) == nil {
				t.Errorf("%s: %q is taken", name, rest)
			}
		})
	}
}
