// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"penstock/daemon/internal/config"
	"penstock/evloop"
)

func TestFraming(t *testing.T) {
	tests := []struct {
		name, delim, in string
		max             int
		want            []string
		rest            string // kept for the next call
		long            bool
	}{
		{name: "two lines and a beginning", delim: "\n", max: 9, in: "a\nbc\nd", want: []string{"a", "bc"}, rest: "d"},
		{name: "CR before LF is chopped", delim: "\n", max: 9, in: "a\r\n\r\nb\r", want: []string{"a", ""}, rest: "b\r"},
		{name: "only one CR is chopped", delim: "\n", max: 9, in: "a\r\r\n", want: []string{"a\r"}},
		{name: "a CR elsewhere stays", delim: "\n", max: 9, in: "a\rb\n", want: []string{"a\rb"}},
		{name: "another delimiter does not chop", delim: "?", max: 9, in: "a\r?\r\n", want: []string{"a\r"}, rest: "\r\n"},
		{name: "CRLF only", delim: "\r\n", max: 99, in: "a\nb\r\n\rc", want: []string{"a\nb"}, rest: "\rc"},
		{name: "longest line", delim: "\n", max: 3, in: "abc\nabc\r\n", want: []string{"abc", "abc"}},
		{name: "one byte more", delim: "\n", max: 3, in: "ok\nabcd\n", want: []string{"ok"}, long: true},
		{name: "one byte more with CR", delim: "\n", max: 3, in: "abcd\r\n", long: true},
		{name: "longest line may still end", delim: "\n", max: 3, in: "abc\r", rest: "abc\r"},
		{name: "cannot end any more", delim: "\n", max: 3, in: "abcd\r", long: true},
		{name: "long delimiter, longest line", delim: "END", max: 3, in: "abcENDabcEN", want: []string{"abc"}, rest: "abcEN"},
		{name: "long delimiter, one more", delim: "END", max: 3, in: "abcdEND", long: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFraming(tt.delim, tt.max)
			lines, rest, long := cutAll(&f, []byte(tt.in))
			if !slices.Equal(lines, tt.want) || long != tt.long || !long && string(rest) != tt.rest {
				t.Errorf("got %q, rest %q, long %v\nwant %q, rest %q, long %v", lines, rest, long, tt.want, tt.rest, tt.long)
			}
		})
	}
}

// A line that the loop could not keep whole is reported by the service, with
// its last words, and not by the loop.
func TestFramingMaxIsBelowTheLoops(t *testing.T) {
	f := newFraming("\n", config.LongestLine)
	if _, _, found := f.next(bytes.Repeat([]byte("x"), 64<<10)); found != cutLong {
		t.Errorf("64 KiB without an end: %v, want too long", found)
	}
}

// cutAll does what the services do with what the loop shows them.
func cutAll(f *framing, p []byte) (lines []string, rest []byte, long bool) {
	for {
		line, n, found := f.next(p)
		switch found {
		case cutNone:
			return lines, p, false
		case cutLong:
			return lines, nil, true
		}
		lines = append(lines, string(line))
		p = p[n:]
	}
}

// FuzzFraming checks that the lines do not depend on how the stream is cut.
func FuzzFraming(f *testing.F) {
	f.Add("What is your name?What is your quest?\r\n", "?", 20, 7)
	f.Add("a\r\nb\r\n", "\n", 4, 2)
	f.Add("lf only\ncrlf\r\n", "\r\n", 99, 13)
	f.Add(strings.Repeat("x", 50), "END", 47, 49)
	f.Fuzz(func(t *testing.T, in, delim string, most, at int) {
		if delim == "" || len(delim) > 16 || most < 1 || most > 100 || at < 0 || at > len(in) {
			return
		}
		fr := newFraming(delim, most)
		want, wantRest, wantLong := cutAll(&fr, []byte(in))
		got, rest, long := cutAll(&fr, []byte(in[:at]))
		if !long {
			more, r, l := cutAll(&fr, append(rest, in[at:]...))
			got, rest, long = append(got, more...), r, l
		}
		if !slices.Equal(got, want) || long != wantLong || !bytes.Equal(rest, wantRest) {
			t.Errorf("cut at %d: %q %q %v\nwhole: %q %q %v", at, got, rest, long, want, wantRest, wantLong)
		}
		if len(rest) > most+len(delim)+1 {
			t.Errorf("keeps %d bytes, more than a line of %d and its end", len(rest), most)
		}
	})
}

func BenchmarkFraming(b *testing.B) {
	f := newFraming("\n", 4096)
	in := bytes.Repeat([]byte("a line of forty bytes, as people type.\r\n"), 1000)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		lines := 0
		for p := in; len(p) > 0; lines++ {
			_, n, found := f.next(p)
			if found != cutLine {
				b.Fatal(found)
			}
			p = p[n:]
		}
		if lines != 1000 {
			b.Fatal(lines)
		}
	}
}

// A burst is a line that a client sends many times at once, and what comes of each.
type burst struct {
	name, conf, line, reply string
	silent                  bool
}

// pipelined are services whose clients may send many lines at once. The first word of a
// name is the kind.
var pipelined = []burst{
	{"ticker", "kind=\"ticker\"\nqueue=\"1MiB\"\ninterval=\"1h\"", "PING\n", "+PONG\r\n", false},
	{"lookup", "kind=\"lookup\"\nqueue=\"1MiB\"\nanswers={q=\"a\"}", "q\n", "a", false},
	{"lookup that disconnects", "kind=\"lookup\"\nqueue=\"1MiB\"\noverflow=\"disconnect\"\nanswers={q=\"a\"}", "q\n", "a", false},
	{"lookup that does not know", "kind=\"lookup\"\nanswers={q=\"a\"}", "x\n", "", true},
	{"room, wrong commands", "kind=\"room\"\nwelcome=\"\"\nqueue=\"1MiB\"", "/x\n", "ERR no such command, want /nick /who /me /quit, or // for a line that begins with /\n", false},
	{"room, names", "kind=\"room\"\nwelcome=\"\"\nqueue=\"1MiB\"", "/who\n", "* 1 here: 192.0.2.1:4001\n", false},
}

// A kind that cuts its input into lines by framing is tried with many of them.
func TestFramedKindsArePipelined(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	field := regexp.MustCompile(`(?m)^\t(\w+\s+)?framing$`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		kind := strings.TrimSuffix(file, ".go")
		if field.Match(text) && !slices.ContainsFunc(pipelined, func(b burst) bool {
			return strings.Trim(strings.Fields(b.name)[0], ",") == kind
		}) {
			t.Errorf("%s uses framing, and pipelined has no row of it", file)
		}
	}
}

// A client that pipelines is served in portions, small ones when the work of the
// turn is spent, and in the end whole.
func TestPortions(t *testing.T) {
	const lines = 5000
	for _, tt := range pipelined {
		for _, work := range []int{1, 1 << 20} {
			t.Run(fmt.Sprintf("%s, work %d", tt.name, work), func(t *testing.T) {
				largest := 0 // written on the loop, read after the end
				r := serveLoop(t, parse(t, tt.conf), evloop.Config{Memory: 64 << 20, Work: work})
				r.do(func() {
					r.took = func(p []byte) { largest = max(largest, bytes.Count(p, []byte{'\n'})) }
				})
				c := r.dial()
				r.do(func() { c.send(strings.Repeat(tt.line, lines)) }) // all there when the loop reads
				c.shut()
				if got, want := c.rest(), strings.Repeat(tt.reply, lines); got != want {
					t.Errorf("got %d bytes, want %d: the answers to all lines", len(got), len(want))
				}
				r.wantEnd(nil)
				most := linesMost
				if work == 1 && !tt.silent {
					most = linesFew
				}
				if largest > most || largest == 0 {
					t.Errorf("a call of Data served %d lines, want 1 to %d", largest, most)
				}
			})
		}
	}
}
