// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"penstock/evloop"
)

func messageOf(p []byte) *evloop.Message { return evloop.NewMessage(bytes.Clone(p)) }

// last returns what a newcomer is shown.
func (r *recent) last() (b []byte) {
	for m := range r.all {
		b = append(b, m.Bytes()...)
	}
	return b
}

// cutterOf returns a cutter with the keys in text, and what it passes on.
func cutterOf(t testing.TB, text string) (*cutter, *[]string) {
	t.Helper()
	k, got := &cutter{}, &[]string{}
	k.out = func(p []byte) { *got = append(*got, string(p)) }
	k.long = func(int) {}
	k.adjust(parse(t, "kind='bridge'\ndevice='/dev/x'\n"+text))
	return k, got
}

func TestCutter(t *testing.T) {
	for _, tt := range []struct {
		name, keys string
		reads      []string
		want       []string
		longs      uint64
		half       int
	}{
		{"a line", "", []string{"a\n"}, []string{"a\n"}, 0, 0},
		{"what a read has brought is one", "", []string{"a\nb\n\nc"}, []string{"a\nb\n\n"}, 0, 1},
		{"a line in two reads", "", []string{"a", "b\nc", "\n"}, []string{"ab\n", "c\n"}, 0, 0},
		{"CRLF as it is", "", []string{"a\r", "\nb\r\n"}, []string{"a\r\nb\r\n"}, 0, 0},
		{"a delimiter in two reads", `delimiter = "\r\n"`, []string{"a\nb\r", "\nc\r"}, []string{"a\nb\r\n"}, 0, 2},
		{"as long as it may be", "max_line = 4", []string{"abcd", "\n"}, []string{"abcd\n"}, 0, 0},
		{"too long", "max_line = 4", []string{"abcde", "f", "g\nh\n"}, []string{"abcd", "e", "fg\nh\n"}, 1, 0},
		{"too long, twice", "max_line = 4", []string{"abcde", "\nabcdef"}, []string{"abcd", "e", "\n", "abcd", "ef"}, 2, 0},
		{"too long, and the delimiter cut", "max_line = 4\ndelimiter = '12'", []string{"abcde1", "2x12"}, []string{"abcd", "e", "12x12"}, 1, 0},
		{"as long as it may be, and the delimiter cut", "max_line = 4\ndelimiter = '12'", []string{"abcd1", "2"}, []string{"abcd12"}, 0, 0},
		{"a delimiter longer than a line", "max_line = 8\ndelimiter = '0123456789abcdef'", []string{"abcdefghij", "0123456789abcdefx"}, []string{"abcdefghij0123456789abcdef"}, 0, 1},
		{"a queue takes some", "queue = 2048", []string{strings.Repeat("abcdefg\n", 40)}, []string{strings.Repeat("abcdefg\n", 32), strings.Repeat("abcdefg\n", 8)}, 0, 0},
		{"a line that is longer than a message of several", "queue = 2048", []string{"a\n" + strings.Repeat("x", 400) + "\nb\n"}, []string{"a\n", strings.Repeat("x", 400) + "\n", "b\n"}, 0, 0},
		{"no delimiter", `delimiter = ""`, []string{"a\nb", "c"}, []string{"a\nb", "c"}, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k, got := cutterOf(t, tt.keys)
			for _, r := range tt.reads {
				k.feed([]byte(r))
			}
			half := 0
			k.lost(func(n int) { half = n })
			if !slices.Equal(*got, tt.want) || k.longs != tt.longs || half != tt.half {
				t.Errorf("got %q, %d long, %d bytes of a line, want %q, %d, %d", *got, k.longs, half, tt.want, tt.longs, tt.half)
			}
		})
	}
}

// FuzzCutter: whatever the source sends, and however it is cut, no byte is lost or comes
// twice, and each message but those of long lines ends in a delimiter.
func FuzzCutter(f *testing.F) {
	f.Add([]byte("one\ntwo\nthree"), uint8(3), false)
	f.Add([]byte("\r\n\r\r\n\n\r\nx\r"), uint8(1), true)
	f.Add(bytes.Repeat([]byte("0123456789"), 100), uint8(7), true)
	f.Fuzz(func(t *testing.T, in []byte, size uint8, two bool) {
		delim := "\n"
		if two {
			delim = "\r\n"
		}
		k, got := cutterOf(t, fmt.Sprintf("max_line = 16\nqueue = 2048\ndelimiter = %q", delim))
		for p := in; len(p) > 0; {
			n := min(len(p), int(size)+1)
			k.feed(p[:n])
			p = p[n:]
		}
		if whole := strings.Join(*got, "") + string(k.part); whole != string(in) {
			t.Fatalf("%q came out as %q", in, whole)
		}
		if len(k.part) > k.max+len(delim) {
			t.Errorf("%d bytes wait", len(k.part))
		}
		for _, m := range *got {
			if k.longs == 0 && !strings.HasSuffix(m, delim) || len(m) > 256 {
				t.Errorf("message %q", m)
			}
		}
	})
}

// TestRecent: a newcomer gets exactly the last lines, however they were cut.
func TestRecent(t *testing.T) {
	for size := 1; size < 30; size++ {
		for most := 1; most < 8; most++ {
			k, _ := cutterOf(t, "")
			h := recent{delim: []byte("\n")}
			h.adjust(most, 1<<20)
			k.out = func(p []byte) { h.keep(messageOf(p), nil) }
			in := ""
			for i := range 20 {
				in += fmt.Sprintf("line %d\n", i)
			}
			for p := in; p != ""; {
				n := min(len(p), size)
				k.feed([]byte(p[:n]))
				p = p[n:]
			}
			lines := strings.SplitAfter(in, "\n")
			want := strings.Join(lines[20-most:], "")
			if got := string(h.last()); got != want {
				t.Fatalf("reads of %d, history %d: %q, want %q", size, most, got, want)
			}
		}
	}
	h := recent{delim: []byte("\n")}
	h.adjust(100, 20)
	for range 50 {
		h.keep(messageOf([]byte("0123456\n")), nil)
	}
	if n := len(h.last()); n > 20 || n < 10 {
		t.Errorf("%d bytes are kept, the bound is 20", n)
	}
	h.adjust(0, 20)
	if h.bytes != 0 || h.lines != 0 || len(h.list) != 0 {
		t.Errorf("%d bytes are kept after a reload to none", h.bytes)
	}
}

// BenchmarkCutter is what a read of thirty lines costs before it goes to the clients.
func BenchmarkCutter(b *testing.B) {
	k, _ := cutterOf(b, "")
	in, bytesOut := []byte(strings.Repeat("a line of some sensor, 19.3 C\n", 30)), 0
	k.out = func(p []byte) { bytesOut += len(p) }
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		k.feed(in)
	}
	if bytesOut%len(in) != 0 {
		b.Fatal(bytesOut)
	}
}
