// SPDX-License-Identifier: Apache-2.0

package text

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAppendClean(t *testing.T) {
	for _, tt := range []struct{ name, in, want, lines string }{
		{"plain", "a b\tc, Größe 日本語 👍🏽", "a b\tc, Größe 日本語 👍🏽", ""},
		{"joiners of scripts that need them", "می\u200cخواهم", "می\u200cخواهم", ""},
		{"C0", "\x00a\x1b[2J\x07\r\n", "?a?[2J???", "?a?[2J??\n"},
		{"DEL", "a\x7fb", "a?b", ""},
		{"C1 as code points", "\u0080\u009b31m\u009f\u00a0", "??31m?\u00a0", ""},
		{"C1 as bytes", "\x80\x9b31m\x9f", "??31m?", ""},
		{"telnet", "\xff\xfb\x01", "???", ""},
		{"cut runes", "\xc3", "?", ""},
		{"too long an encoding of NUL", "\xc0\x80", "??", ""},
		{"a surrogate", "\xed\xa0\x80", "???", ""},
		{"ends of lines", "a\u2028b\u2029c\u0085d", "a?b?c?d", ""},
		{"bidi", "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069", strings.Repeat("?", 12), ""},
		{"the replacement character itself", "\ufffd", "\ufffd", ""},
	} {
		if tt.lines == "" {
			tt.lines = tt.want
		}
		if got := string(AppendClean([]byte("x"), []byte(tt.in))); got != "x"+tt.want {
			t.Errorf("%s: AppendClean(%q) = %q, want %q", tt.name, tt.in, got[1:], tt.want)
		}
		if got := string(AppendLines(nil, []byte(tt.in))); got != tt.lines {
			t.Errorf("%s: AppendLines(%q) = %q, want %q", tt.name, tt.in, got, tt.lines)
		}
	}
}

func FuzzAppendClean(f *testing.F) {
	f.Add([]byte("a\x1b\u009b\xff\u202e"))
	f.Fuzz(func(t *testing.T, p []byte) {
		got := AppendClean(nil, p)
		if !utf8.Valid(got) || strings.ContainsFunc(string(got), Unsafe) {
			t.Errorf("AppendClean(%q) = %q", p, got)
		}
		if again := AppendClean(nil, got); string(again) != string(got) {
			t.Errorf("cleaned again: %q, not %q", again, got)
		}
	})
}

func TestTrimTelnet(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""},
		{"hello", "hello"},
		{"\xff\xfb\x1f\xff\xfb\x20\xff\xfb\x18\xff\xfb\x27\xff\xfd\x01\xff\xfb\x03\xff\xfd\x03hello", "hello"}, // PuTTY
		{"\xff\xf4\xff\xfd\x06hello", "hello"}, // telnet after ^C
		{"\xff\xfa\x1f\x00\x50\x00\x18\xff\xf0hello", "hello"},
		{"\xff", ""},
		{"\xff\xfb", ""},
		{"\xff\xfa\x1f", ""},
		{"hello\xff\xf4", "hello\xff\xf4"},
		{"\xfe\xff", "\xfe\xff"},
	} {
		if got := string(TrimTelnet([]byte(tt.in))); got != tt.want {
			t.Errorf("TrimTelnet(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestExcerpt(t *testing.T) {
	tests := []struct{ in, want string }{
		{"plain", "plain"},
		{"a\r\n\\\x00\x7f\xff", `a\r\n\\\x00\x7f\xff`},
		{"0123456789abc", "0123456789..."},
	}
	for _, tt := range tests {
		if got := Excerpt([]byte(tt.in), 10); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}
