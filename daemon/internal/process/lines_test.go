// SPDX-License-Identifier: Apache-2.0

package process

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestLineReader(t *testing.T) {
	read := func(chunks []string) (got []string) {
		r := lineReader{max: 5}
		line := func(l []byte) { got = append(got, string(l)) }
		long := func(head []byte, n int) { got = append(got, fmt.Sprintf("long %s %d", head, n)) }
		for _, c := range chunks {
			r.feed([]byte(c), line, long)
		}
		r.end(line, long)
		r.end(line, long) // with nothing left
		return got
	}
	in := "abc\n\nabcde\nabcdef\nx\n" + strings.Repeat("y", 1000) + "\nz"
	want := []string{"abc", "", "abcde", "long abcdef 6", "x", "long " + strings.Repeat("y", 256) + " 1000", "z"}
	if got := read([]string{in}); !slices.Equal(got, want) {
		t.Errorf("in one piece: got %.60q", got)
	}
	// Only the beginning of a line is kept, and how much of it depends on how
	// it came; what counts is the lines around it.
	got := read(strings.Split(in, ""))
	got[3], got[5] = want[3], want[5]
	if !slices.Equal(got, want) {
		t.Errorf("byte by byte: got %.60q", got)
	}
	if got, want := read([]string{"abc\nabcdef", "gh"}), []string{"abc", "long abcdef 8"}; !slices.Equal(got, want) {
		t.Errorf("a long line without an end: got %q, want %q", got, want)
	}
}
