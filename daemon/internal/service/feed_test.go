// SPDX-License-Identifier: Apache-2.0

package service

import (
	"fmt"
	"slices"
	"testing"

	"penstock/daemon/internal/view"
	"penstock/evloop"
)

// heardBy keeps what it is told.
type heardBy []string

func (h *heardBy) Follow(m Message) { *h = append(*h, fmt.Sprintf("%d %s", m.Number, m.Text)) }

// TestFeed: whoever comes later with a number gets from the history what those got that
// were there, each message by itself and with its number, and learns what is not kept.
func TestFeed(t *testing.T) {
	newline := []byte("\n")
	for _, tt := range []struct {
		name   string
		delim  []byte
		most   int
		pieces []string
		told   []string
		after  uint64
		want   []string
		missed uint64
	}{
		{"lines", newline, 9, []string{"a\nb\n", "c\n"}, []string{"1 a", "2 b", "3 c"}, 1, []string{"2 b", "3 c"}, 0},
		{"a line in pieces", newline, 9, []string{"aa", "a\nb\n"}, []string{"1 aa", "2 a", "3 b"}, 0, []string{"1 aa", "2 a", "3 b"}, 0},
		{"nothing is new", newline, 9, []string{"a\n"}, []string{"1 a"}, 1, nil, 0},
		{"not all is kept", newline, 1, []string{"a\n", "b\n", "c\n"}, []string{"1 a", "2 b", "3 c"}, 0, []string{"3 c"}, 2},
		{"nothing is kept", newline, 0, []string{"a\n", "b\n"}, []string{"1 a", "2 b"}, 0, nil, 2},
		{"no delimiter", nil, 9, []string{"a\nb", ""}, []string{"1 a\nb", "2 "}, 0, []string{"1 a\nb", "2 "}, 0},
		{"an empty line", newline, 9, []string{"\n\n"}, []string{"1 ", "2 "}, 1, []string{"2 "}, 0},
		{"a delimiter of two", []byte("\r\n"), 9, []string{"a\r\nb\r\n"}, []string{"1 a", "2 b"}, 0, []string{"1 a", "2 b"}, 0},
	} {
		kept := &recent{delim: tt.delim}
		kept.adjust(tt.most, 1000)
		f := newFeed(kept)
		f.delim = func() []byte { return tt.delim }
		var told heardBy
		f.Add(&told)
		for _, p := range tt.pieces {
			kept.keep(evloop.NewMessage([]byte(p)), nil)
			f.several([]byte(p), tt.delim, &ofSource)
		}
		list, missed := f.Since(tt.after)
		var later heardBy
		for _, m := range list {
			later.Follow(m)
		}
		if !slices.Equal([]string(told), tt.told) || !slices.Equal([]string(later), tt.want) || missed != tt.missed {
			t.Errorf("%s: told %q, later %q and %d missed; want %q, %q and %d", tt.name, told, later, missed, tt.told, tt.want, tt.missed)
		}
		before := f.Last()
		f.Remove(&told)
		f.several([]byte("x\ny\n"), newline, &ofSource)
		if len(told) != len(tt.told) || f.Last() != before+2 {
			t.Errorf("%s: without followers the number went from %d to %d, and %d were told", tt.name, before, f.Last(), len(told)-len(tt.told))
		}
	}
}

// TestRoomFeedRestart: followers get the line of a message alone, also an empty one, and so
// do later ones, through two restarts; of a line from before there were numbers it stays
// known that nothing is.
func TestRoomFeedRestart(t *testing.T) {
	conf := parse(t, "kind=\"room\"\nhistory=9\nmessage=\"{name}: {line}\"")
	r := newRoom(conf, quietEnv(t))
	var told heardBy
	r.Feed().Add(&told)
	r.history.keep(evloop.NewMessage([]byte("old\n")), nil)
	r.feed.last = 1
	for _, line := range []string{"", "x"} {
		if _, err := r.Publish(&Publication{Text: []byte(line), Name: "bob", Peer: view.Peer{UID: 7}}); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"2 ", "3 x"}; !slices.Equal([]string(told), want) {
		t.Errorf("told %q, want %q", told, want)
	}
	for range 3 {
		var later heardBy
		list, _ := r.Feed().Since(0)
		for _, m := range list {
			later.Follow(Message{Number: m.Number, Text: fmt.Appendf(nil, "%s %s %s", m.Origin, m.Name, m.Text)})
		}
		if want := []string{"1 source  old", "2 publish bob ", "3 publish bob x"}; !slices.Equal([]string(later), want) {
			t.Errorf("later %q, want %q", later, want)
		}
		next := newRoom(conf, quietEnv(t))
		if err := next.Load(r.Save()); err != nil {
			t.Fatal(err)
		}
		r = next
	}
}
