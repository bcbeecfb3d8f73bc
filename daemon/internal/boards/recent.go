// SPDX-License-Identifier: Apache-2.0

package boards

// recent holds the last lines of all boards, for one that comes later. All of it fits into
// one answer.
type recent struct {
	list  []line // with Board; the oldest first
	bytes int
	most  int
}

func (c *recent) add(board string, l line) {
	if c.most == 0 {
		return
	}
	l.Board, l.Before = board, nil
	c.list = append(c.list, l)
	c.bytes += len(l.Name) + len(l.Text)
	for len(c.list) > c.most || c.bytes > mostPayload {
		c.bytes -= len(c.list[0].Name) + len(c.list[0].Text)
		c.list[0] = line{}
		c.list = c.list[1:]
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

// marks are the last lines that the room has shown of each series of each board, itself
// included: a board that is heard of again goes on there. The oldest are forgotten.
type marks []mark

const mostMarks = 256

type mark struct {
	Board  string `json:"board"`
	Series string `json:"series"`
	Number uint64 `json:"number"`
}

// of returns the last number; 0: there is none.
func (m marks) of(board, series string) uint64 {
	for i := range m {
		if m[i].Board == board && m[i].Series == series {
			return m[i].Number
		}
	}
	return 0
}

func (m *marks) set(board, series string, number uint64) {
	list := *m
	for i := range list {
		if list[i].Board == board && list[i].Series == series {
			list[i].Number = max(list[i].Number, number)
			return
		}
	}
	if len(list) == mostMarks {
		list = append(list[:0], list[1:]...)
	}
	*m = append(list, mark{board, series, number})
}
