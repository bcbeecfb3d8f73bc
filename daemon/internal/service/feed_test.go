// SPDX-License-Identifier: Apache-2.0

package service

import (
	"fmt"
	"slices"
	"testing"

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
