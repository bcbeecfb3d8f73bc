// SPDX-License-Identifier: Apache-2.0

package boards

import "slices"

// recent holds the last lines of all boards, for one that comes later. All of it fits into
// one answer.
type recent struct {
	list  []line // with Board; the oldest first
	bytes int
	most  int
	life  int // of them, at the end, since the room began
}

func (c *recent) add(board string, l line) {
	if c.most == 0 {
		return
	}
	l.Board = board
	c.list = append(c.list, l)
	c.life++
	c.bytes += l.length()
	for len(c.list) > c.most || c.bytes > mostPayload {
		c.bytes -= c.list[0].length()
		c.list[0] = line{}
		c.list = c.list[1:]
	}
	c.life = min(c.life, len(c.list))
}

// replace takes the history of another board, and puts what was said and shown here since
// the room began around it, as far as that is older or later.
func (c *recent) replace(list []line) {
	life := c.list[len(c.list)-c.life:]
	c.list, c.bytes = nil, 0
	var first, last marks
	for _, l := range list {
		if first.of(l.Board, l.Series).Number == 0 {
			first.set(l.Board, l.Series, l.Number, 0)
		}
		last.set(l.Board, l.Series, l.Number, 0)
	}
	for _, l := range life {
		if l.Number < first.of(l.Board, l.Series).Number {
			c.add(l.Board, l)
		}
	}
	for _, l := range list {
		c.add(l.Board, l)
	}
	c.life = 0
	for _, l := range life {
		if l.Number > last.of(l.Board, l.Series).Number {
			c.add(l.Board, l)
		}
	}
}

// newest returns the last lines, so many, or as many as fit.
func (c *recent) newest(most int) []line {
	size, from := 0, len(c.list)
	for from > 0 && len(c.list)-from < most {
		if size += len(encode(c.list[from-1].wire())) + 1; size > mostPayload {
			break
		}
		from--
	}
	list := make([]line, 0, len(c.list)-from)
	for _, l := range c.list[from:] {
		list = append(list, l.wire())
	}
	return list
}

// marks are the last lines that the room has shown, since it began, of each series of each
// board, itself included: a board that is heard of again goes on there. The one that was
// shown last is at the end, and the oldest is forgotten.
type marks []mark

const mostMarks = 256

type mark struct {
	Board  string `json:"board"`
	Series string `json:"series"`
	Number uint64 `json:"number"`
	From   uint64 `json:"from,omitempty"` // nothing up to here was shown: it was too old
}

// of returns the mark of a series; its number is 0 if there is none.
func (m marks) of(board, series string) mark {
	for i := range m {
		if m[i].Board == board && m[i].Series == series {
			return m[i]
		}
	}
	return mark{}
}

// latest returns the last series of a board of which a line was shown; "": none was.
func (m marks) latest(board string) string {
	for i := len(m) - 1; i >= 0; i-- {
		if m[i].Board == board {
			return m[i].Series
		}
	}
	return ""
}

func (m *marks) set(board, series string, number, from uint64) {
	list := *m
	for i := range list {
		if list[i].Board == board && list[i].Series == series {
			number, from = max(list[i].Number, number), list[i].From
			list = slices.Delete(list, i, i+1)
			break
		}
	}
	if len(list) == mostMarks {
		list = slices.Delete(list, 0, 1)
	}
	*m = append(list, mark{board, series, number, from})
}
