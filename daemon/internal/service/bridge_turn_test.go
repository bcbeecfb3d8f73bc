// SPDX-License-Identifier: Apache-2.0

package service

import "testing"

// turnCells holds every step that changes something or asks for something. All others
// leave the turn as it is.
var turnCells = map[turnState]map[turnTrigger]struct {
	next turnState
	do   turnEffect
}{
	free: {
		given: {asked, doAwait},
		spoke: {free, toAll},
		ended: {free, toAll},
	},
	asked: {
		spoke:   {answered, toAsker},
		ended:   {free, toAsker | doNext},
		overdue: {late, doMiss | doAwait},
		lost:    {free, doMiss | doNext},
	},
	answered: {
		spoke:   {answered, toAsker},
		ended:   {free, toAsker | doNext},
		quiet:   {free, doNext},
		overdue: {late, doMiss | doAwait},
		lost:    {free, doMiss | doNext},
	},
	late: {
		spoke:   {late, toAsker},
		ended:   {free, toAsker | doNext},
		quiet:   {free, doNext},
		overdue: {free, doNext},
		lost:    {free, doNext},
	},
}

// TestTurnStep looks at every cell: the steps in the table are made, and no others.
func TestTurnStep(t *testing.T) {
	for s := range turnStates {
		for tr := range turnTriggers {
			next, do := turnStep(s, tr)
			want, ok := turnCells[s][tr]
			if !ok {
				want.next = s
			}
			if next != want.next || do != want.do {
				t.Errorf("turnStep(%v, %v) = %v, %b, want %v, %b", s, tr, next, do, want.next, want.do)
			}
			if s != free && next == free && do&doNext == 0 {
				t.Errorf("turnStep(%v, %v): those that wait are forgotten", s, tr)
			}
		}
	}
}

// TestTurnEnds: a reply's end is found wherever its bytes are cut.
func TestTurnEnds(t *testing.T) {
	for _, delim := range []string{"\n", "\r\n", "END"} {
		reply := "reply" + delim
		said := reply + "next" + delim
		for cut := 1; cut < len(said); cut++ {
			var u turn
			end := u.endIn([]byte(said[:cut]), []byte(delim))
			want := len(reply)
			if end < 0 {
				end = u.endIn([]byte(said[cut:]), []byte(delim))
				want -= cut
			}
			if end != want {
				t.Errorf("%q cut at %d: the end is at %d, want %d", said, cut, end, want)
			}
		}
		var u turn
		for i := range len(reply) {
			want := -1
			if i == len(reply)-1 {
				want = 1
			}
			if end := u.endIn([]byte(reply[i:i+1]), []byte(delim)); end != want {
				t.Errorf("%q byte by byte: at %d the end is at %d, want %d", reply, i, end, want)
			}
		}
	}
}
