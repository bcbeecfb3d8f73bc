// SPDX-License-Identifier: Apache-2.0

package boards

import (
	"strconv"
	"strings"
)

// An Output is something to be done, in the order in which Take returns it.
type Output interface{ output() }

// A Send is a message for the broker. There are none while it is out of reach: the Room
// keeps what it has to say. So a Send belongs into no queue that outlives the connection.
type Send struct {
	Topic   string
	Payload []byte // the receiver's; empty: what is retained goes
	Retain  bool
	QoS     byte
}

// A Deliver is a line of another board for the daemon's Publish, with Tag. The receiver
// calls Landed with the tag when the daemon has taken the line, and Refused when that does
// not want it. When the connection to the daemon ends, it forgets the lines that have not
// landed: they come again after Joined.
type Deliver struct {
	Board string // this board's own name: a line of its own room before that began anew
	Name  string // who has said it; "": nobody, the text is all there is
	Text  string
	Tag   string
}

// A Present says who is in the room on another board, in place of what was said before.
type Present struct {
	Board string
	Names []string // at most 1,000; nil: nobody, or the board is gone
}

// A Lost says that lines of a board could not be delivered: those it has said in From to
// To. How many these are is not known, since the numbers of one board have gaps. Board is
// this one when the daemon has dropped lines before they came here, or when one is too
// long for a message. A line that the daemon has refused is one, too.
type Lost struct {
	Board    string
	Series   string
	From, To uint64
	Doubt    bool // they may have been delivered: a crash has come between
}

// A Reach says how many other boards have this room and can be reached. With Up false the
// broker is away, and so is everybody that Present has told of: no Present says so.
type Reach struct {
	Up     bool
	Boards int
}

// A Twin says that another machine has this board's name. Its lines are dropped, and
// others drop those of one of the two. It comes once for each series of the other one.
type Twin struct{ Series string }

// Crowded says that there are more boards than a Room takes. What this one says is
// dropped. It comes once, until a place is free.
type Crowded struct{ Board string }

func (Send) output()    {}
func (Deliver) output() {}
func (Present) output() {}
func (Lost) output()    {}
func (Reach) output()   {}
func (Twin) output()    {}
func (Crowded) output() {}

// TagPrefix begins the tag of all that a companion for a broker publishes.
const TagPrefix = "mqtt:"

// tag names a line within the 64 bytes that Publish takes.
func tag(board, series string, number uint64) string {
	return TagPrefix + board + ":" + series + ":" + strconv.FormatUint(number, 36)
}

// parseTag reads what tag has written.
func parseTag(s string) (board, series string, number uint64, ok bool) {
	s, ok = strings.CutPrefix(s, TagPrefix)
	parts := strings.Split(s, ":")
	if !ok || len(parts) != 3 || !level(parts[0], longestBoard) || !level(parts[1], longestSeries) {
		return "", "", 0, false
	}
	number, err := strconv.ParseUint(parts[2], 36, 64)
	return parts[0], parts[1], number, err == nil && number > 0 && number <= maxNumber
}
