// SPDX-License-Identifier: Apache-2.0

package boards

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// Bounds of messages.
const (
	maxPayload    = 64 << 10 // of any that is taken
	mostPayload   = 60 << 10 // of one with a list, which ends where this does
	longestBoard  = 32
	mostBefore    = 3
	longestSeries = 16         // 64 bits, as control.Series writes them
	longestName   = 128        // as Publish takes it
	maxNumber     = 1<<46 - 1  // nine digits in a tag
	onlineText    = "online"   // of penstock/board/BOARD
	offlineText   = "offline"  //
	prefix        = "penstock" // of all topics
)

// Online and Offline are the payloads of BoardTopic.
const (
	Online  = onlineText
	Offline = offlineText
)

// Kinds of topics.
const (
	kindLine   = "line"
	kindBoard  = "board"
	kindAsk    = "ask"
	kindAnswer = "answer"
)

// BoardTopic returns the topic, retained, that says whether a board is there.
func BoardTopic(board string) string { return prefix + "/board/" + board }

// Filters returns what a companion subscribes to for a room.
func Filters(room, board string) []string {
	return []string{
		BoardTopic("+"),
		topic(room, kindLine, "+"), topic(room, kindBoard, "+"),
		topic(room, kindAsk, board), topic(room, kindAnswer, board),
	}
}

func topic(room, kind, board string) string {
	return prefix + "/room/" + room + "/" + kind + "/" + board
}

// parseTopic takes a topic apart. kind is "" for that of BoardTopic.
func parseTopic(t, room string) (kind, board string, ok bool) {
	t, ok = strings.CutPrefix(t, prefix+"/")
	if !ok {
		return "", "", false
	}
	if board, ok = strings.CutPrefix(t, "board/"); ok {
		return "", board, level(board, longestBoard)
	}
	t, ok = strings.CutPrefix(t, "room/"+room+"/")
	kind, board, cut := strings.Cut(t, "/")
	return kind, board, ok && cut && level(board, longestBoard)
}

// level reports whether s can be the name of a board or a series.
func level(s string, longest int) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return s != "" && len(s) <= longest
}

// An end is the last number of a series.
type end struct {
	Series string `json:"series"`
	Last   uint64 `json:"last"`
}

// validEnds checks what a board says of its series before, the oldest first.
func validEnds(list []end) bool {
	for _, e := range list {
		if !level(e.Series, longestSeries) || e.Last > maxNumber {
			return false
		}
	}
	return len(list) <= mostBefore
}

// A line is one that was said on a board.
type line struct {
	Board  string `json:"board,omitempty"` // in a history alone
	Series string `json:"series"`
	Number uint64 `json:"number"`
	Prev   uint64 `json:"prev,omitempty"`
	Before []end  `json:"before,omitempty"`
	Name   string `json:"name,omitempty"`
	Text   string `json:"text,omitempty"`
	Base64 []byte `json:"base64,omitempty"`
}

// overhead is what a line costs in memory beside its texts, at most.
const overhead = 256

func (l *line) size() int { return l.length() + overhead }

// length is that of the texts.
func (l *line) length() int { return len(l.Name) + len(l.Text) }

// valid makes Text all there is of the text.
func (l *line) valid() bool {
	if l.Text == "" {
		l.Text = string(l.Base64)
	}
	l.Base64 = nil
	return level(l.Series, longestSeries) && l.Prev < l.Number && l.Number <= maxNumber &&
		len(l.Name) <= longestName && validEnds(l.Before)
}

// wire is the line as it is sent.
func (l line) wire() line {
	if !utf8.ValidString(l.Text) {
		l.Text, l.Base64 = "", []byte(l.Text)
	}
	return l
}

// A board is what a board says of itself in a room.
type board struct {
	Series string   `json:"series"`
	Last   uint64   `json:"last"`
	Start  uint64   `json:"start"`
	Before []end    `json:"before,omitempty"`
	Names  []string `json:"names,omitempty"`
	More   int      `json:"more,omitempty"`
}

func (b *board) valid() bool {
	return level(b.Series, longestSeries) && b.Last <= maxNumber && b.Start <= b.Last &&
		validEnds(b.Before)
}

// An ask is for lines, for the history if there is no series, or for a sign of life.
type ask struct {
	From    string `json:"from"`
	Series  string `json:"series,omitempty"`
	After   uint64 `json:"after,omitempty"`
	Upto    uint64 `json:"upto,omitempty"`
	History int    `json:"history,omitempty"`
}

func (a *ask) valid() bool {
	return level(a.From, longestBoard) && a.After <= a.Upto && a.Upto <= maxNumber && a.History >= 0 &&
		(a.Series == "" || level(a.Series, longestSeries))
}

// An answer is for the board that has asked.
type answer struct {
	From    string `json:"from"`
	Series  string `json:"series,omitempty"`
	After   uint64 `json:"after,omitempty"`
	Upto    uint64 `json:"upto,omitempty"`
	History bool   `json:"history,omitempty"`
	Board   *board `json:"board,omitempty"` // as a sign of life
	Lines   []line `json:"lines,omitempty"`
}

// decode reads a payload. Only an object is one.
func decode(payload []byte, to interface{ valid() bool }) bool {
	p := bytes.TrimLeft(payload, " \t\r\n")
	return len(p) > 0 && p[0] == '{' && json.Unmarshal(p, to) == nil && to.valid()
}

// valid also checks the lines. Those of a history are of any board.
func (a *answer) valid() bool {
	for i := range a.Lines {
		l := &a.Lines[i]
		if !l.valid() || a.History != level(l.Board, longestBoard) {
			return false
		}
	}
	return level(a.From, longestBoard) && a.After <= a.Upto && a.Upto <= maxNumber &&
		(a.Series == "" || level(a.Series, longestSeries)) && (a.Board == nil || a.Board.valid())
}

// encode writes a payload. Texts are for no page, so they need not be safe in one.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic("boards: " + err.Error()) // there is nothing in our types that JSON has not
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
